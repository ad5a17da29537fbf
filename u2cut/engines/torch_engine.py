"""The torch engine: CPU, CUDA (one GPU or all of them) and MPS."""

import ctypes
import os
import sys
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

# Maps of 26 MB on huge pages: a tenth of the CPU's time less. Read at torch's first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from u2cut.console import logger
from u2cut.cores import computes_in_bf16
from u2cut.engines.levelled import level
from u2cut.errors import DeviceError
from u2cut.model import ConvBNReLU, U2Net, upsample_to
from u2cut.weights.load import load_network

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Throughput of U²-Net at 320×320 is flat from here on, and it takes about 4 GB.
_GPU_BATCH = 16
# Of glibc's malloc.h. No map of one photo at 320×320 is larger, nor all of them together.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT, _MOST_KEPT = 64 << 20, 256 << 20


class FusedNetwork(nn.Module):
    """U²-Net reduced to what the fused map needs, with the same result.

    Batch norm is folded into the convolutions before it. The fusion layer, a weighted sum of the
    six side outputs, is folded into these: upsampling is linear, so each is weighted at its own
    resolution, and no full-resolution stack is made.

    Args:
        network: In eval mode; taken over and changed.
    """

    def __init__(self, network: U2Net) -> None:
        super().__init__()
        for block in network.modules():
            if isinstance(block, ConvBNReLU):
                block.conv_s1 = fuse_conv_bn_eval(block.conv_s1, block.bn_s1)
                block.bn_s1 = nn.Identity()  # type: ignore[assignment]
        self.network = network
        with torch.no_grad():
            self._fold_fusion(network.outconv)

    def _fold_fusion(self, fusion: nn.Conv2d) -> None:
        for k, weight in enumerate(fusion.weight[0, :, 0, 0], start=1):
            side = self.network.get_submodule(f"side{k}")
            assert isinstance(side, nn.Conv2d)
            assert side.bias is not None
            side.weight.mul_(weight)
            side.bias.mul_(weight)
            if k == 1 and fusion.bias is not None:
                side.bias.add_(fusion.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to probabilities (B, H, W) in fp32; NaN where a logit isn't finite."""
        fused, *sides = self.network.side_outputs(x)
        fused = fused.float()
        for side in sides:
            fused = fused + upsample_to(side.float(), fused)
        return torch.where(fused.isfinite(), fused.sigmoid(), torch.nan)[:, 0]


class TorchEngine:
    """Runs the network with torch; see `engines.base.Engine`.

    Args:
        path: A weight file.
        device: "auto", "cpu", "cuda", "cuda:N", "cuda:all" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16".
        size: Side of the square inputs; any size runs, it only sizes the batches.
        channels: Of the inputs.

    Raises:
        DeviceError: The device or the precision is not available here.
        WeightsError: The file holds neither of the two networks.
    """

    name = "torch"
    any_size = True

    def __init__(
        self, path: Path, *, device: str, precision: str, size: int, channels: int = 3
    ) -> None:
        self._path, self._channels = path, channels
        self._devices = _resolve_device(device)
        self.device = _device_name(self._devices)
        self.precision = _resolve_precision(precision, self._devices[0].type)
        per_device = 1 if self.device == "cpu" else max(1, _GPU_BATCH * 320**2 // size**2)
        self.batch_size = per_device * len(self._devices)
        self.at_once = 2 if self._devices[0].type == "cuda" else 1
        self._launching, self._falling_back = threading.Lock(), threading.Lock()
        self._load()

    def _load(self) -> None:
        self._replicas = []
        for device in self._devices:
            network = FusedNetwork(load_network(self._path, channels=self._channels))
            if self.precision != "fp32":
                level(network.network)
            network.to(device, _DTYPES[self.precision])
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # its stub
            self._replicas.append(network)

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the fused maps of a batch: (B, C, S, S) to (B, S, S) in [0, 1]."""
        maps = self._run_within_memory(batch)
        if self.precision != "fp32" and not np.isfinite(maps).all():
            self._fall_back()
            maps = self._run_within_memory(batch)
        if self.device == "cpu":
            _keep_freed_memory()
        return maps

    def _fall_back(self) -> None:
        with self._falling_back:
            if self.precision == "fp32":
                return  # another call was faster
            logger.warning(
                "%s overflows with these weights: going on in fp32, which is slower",
                self.precision,
            )
            with self._launching:
                self.precision = "fp32"
                self._load()

    def _run_within_memory(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the batch, in smaller pieces from the moment that the GPU's memory is short."""
        done: list[NDArray[np.float32]] = []
        start = 0
        while start < len(batch):
            piece = batch[start : start + self.batch_size]
            try:
                done.append(self._run(piece))
            except torch.OutOfMemoryError as e:
                if len(piece) <= len(self._devices):
                    raise DeviceError(
                        f"{self.device} has too little free memory for one photo: use a smaller "
                        "--size, another --device, or close what else uses it"
                    ) from e
                self.batch_size = len(piece) // 2
                torch.cuda.empty_cache()
                logger.warning(
                    "%s is short of memory: going on with %d photos at a time",
                    self.device,
                    self.batch_size,
                )
                continue
            start += len(piece)
        return done[0] if len(done) == 1 else np.concatenate(done)

    @torch.inference_mode()
    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        inputs = torch.from_numpy(batch).chunk(len(self._devices))
        # All GPUs are given their share, and another call may give them theirs, before the first
        # result is waited for. One call at a time, so that each uses the memory of the last.
        with self._launching:
            dtype = _DTYPES[self.precision]
            maps = [
                _Download(replica(_upload(part, device, dtype)))
                for part, device, replica in zip(
                    inputs, self._devices, self._replicas, strict=False
                )
            ]
        result: NDArray[np.float32] = torch.cat([m.wait() for m in maps]).numpy()
        return result


@cache
def _keep_freed_memory() -> None:
    """Let glibc keep what one layer frees for the next.

    Else it returns large maps to the system and gets them again, zeroed, layer after layer: a
    seventh of the time in the network. From the second photo on: a single one gains nothing by
    it, and its buffers would be kept, too.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def _upload(part: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    if device.type == "cuda":
        part = part.pin_memory().to(device, non_blocking=True)
    return part.to(device, dtype, memory_format=torch.channels_last)


class _Download:
    """Maps on their way from a device; the copy is queued behind what computes them."""

    def __init__(self, maps: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if maps.device.type != "cuda":
            self._maps = maps.cpu()
            return
        self._maps = torch.empty(maps.shape, dtype=maps.dtype, pin_memory=True)
        self._maps.copy_(maps, non_blocking=True)
        self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._event.record(torch.cuda.current_stream(maps.device))

    def wait(self) -> Tensor:
        """Return the maps on the CPU."""
        if self._event is not None:
            self._event.synchronize()
        return self._maps


def _resolve_device(device: str) -> list[torch.device]:
    """Return the torch devices that the option names.

    Raises:
        DeviceError: It isn't there.
    """
    if device == "auto":
        device = (
            "cuda"
            if torch.cuda.is_available()
            else "mps"
            if torch.backends.mps.is_available()
            else "cpu"
        )
    kind, _, index = device.partition(":")
    if kind == "cpu":
        return [torch.device("cpu")]
    if kind == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError("MPS was asked for, but torch finds no Apple GPU here")
        return [torch.device("mps")]
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else ", and the installed torch is built without CUDA"
        raise DeviceError(
            f"{device} was asked for, but torch finds no usable GPU{built}: install a torch with "
            "CUDA (https://pytorch.org/get-started/locally/), check the driver, or use "
            "--device cpu"
        )
    count = torch.cuda.device_count()
    if index == "all":
        return [torch.device("cuda", i) for i in range(count)]
    number = int(index) if index else torch.cuda.current_device()
    if number >= count:
        raise DeviceError(f"{device} was asked for, but there are only cuda:0 to cuda:{count - 1}")
    return [torch.device("cuda", number)]


def _device_name(devices: Sequence[torch.device]) -> str:
    """Name the devices: "cpu", "cuda:1", "cuda:0+1+2"."""
    first, *others = devices
    return "+".join([str(first), *(str(d.index) for d in others)])


def _resolve_precision(precision: str, kind: str) -> str:
    """Return the precision that the option means on this kind of device.

    Raises:
        DeviceError: The device can't compute in it.
    """
    if precision == "auto":
        if kind == "cuda":
            return "bf16" if _has_bf16(kind) else "fp16"
        return "bf16" if kind == "cpu" and computes_in_bf16() else "fp32"
    if precision == "int8":
        raise DeviceError("int8 is the OpenVINO engine's: use --engine openvino")
    if precision == "fp16" and kind == "cpu":
        raise DeviceError("fp16 needs a GPU: use --precision fp32 or bf16 on the CPU")
    if precision == "bf16" and not _has_bf16(kind):
        raise DeviceError(f"this {kind.upper()} can't compute in bf16: use --precision fp32")
    return precision


def _has_bf16(kind: str) -> bool:
    """Say whether this kind of device computes in bf16, rather than emulating it."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "mps" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
