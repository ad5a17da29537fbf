"""The interface of every engine, and the choice for a machine.

An engine turns a batch of network inputs into fused maps. Nothing here imports torch: where
OpenVINO answers, torch is never loaded.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from u2cut.console import logger
from u2cut.errors import DeviceError, MissingDependencyError, UsageError, printable
from u2cut.options import EngineName, Precision, check_device


class Engine(Protocol):
    """A network, ready to run on one device (or on all GPUs)."""

    @property
    def name(self) -> str:
        """The engine's name, "torch" or "openvino"."""

    @property
    def device(self) -> str:
        """The device: "cpu", "cuda:0", "cuda:0+1", "mps"."""

    @property
    def precision(self) -> str:
        """The precision: "fp32", "bf16", "fp16" or "int8"."""

    @property
    def batch_size(self) -> int:
        """Number of photos a call should bring for the best throughput."""

    @property
    def at_once(self) -> int:
        """Number of calls that may overlap: on a GPU, one computes while another is copied."""

    @property
    def any_size(self) -> bool:
        """Return whether it takes inputs of another size than it was opened for."""

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the fused maps of a batch.

        Args:
            batch: Network inputs, (B, 3, S, S), as `saliency.preprocess` makes them, or
                (B, 6, S, S), the refiner's. Any B.

        Returns:
            Probabilities, (B, S, S) in [0, 1].
        """


def open_engine(
    path: Path,
    *,
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    size: int = 320,
    channels: int = 3,
) -> Engine:
    """Make the weights ready to run.

    Args:
        path: A weight file.
        engine: An `EngineName`; "auto" is torch on a GPU, else OpenVINO if it is installed,
            else torch.
        device: "auto", "cpu", "cuda", "cuda:N", "cuda:all" or "mps".
        precision: A `Precision`; "auto" is bf16 where the device computes in it, else fp16 on
            CUDA, and fp32 on the CPU and on MPS.
        size: Side of the square network inputs.
        channels: Of the network inputs: 3, or the refiner's 6.

    Raises:
        DeviceError: What was asked for is missing here. Nothing falls back unasked.
        UsageError: Options that name nothing, or contradict each other.
        WeightsError: The file holds neither of the two networks.
    """
    _check_names(engine, device, precision)
    chosen, why = _choose(engine, device, precision)
    opened: Engine
    if chosen == "openvino":
        opened = _open_openvino(path, precision, size, channels)
    else:
        from u2cut.engines.torch_engine import TorchEngine

        opened = TorchEngine(path, device=device, precision=precision, size=size, channels=channels)
    logger.info("engine %s (%s) on %s, %s", opened.name, why, opened.device, opened.precision)
    return opened


def _check_names(engine: str, device: str, precision: str) -> None:
    for kind, name, known in (("engine", engine, EngineName), ("precision", precision, Precision)):
        if name not in list(known):
            raise UsageError(f"unknown {kind} {printable(name)!r}: use one of {', '.join(known)}")
    check_device(device)


def _choose(engine: str, device: str, precision: str) -> tuple[str, str]:
    """Return the engine's name and why it was taken."""
    if engine == "openvino" and device not in ("auto", "cpu"):
        raise DeviceError(
            f"the OpenVINO engine runs on the CPU, not on {device}: use --engine torch"
        )
    if engine != "auto":
        return engine, "asked for"
    if device not in ("auto", "cpu"):
        return "torch", f"{device} asked for"
    if precision == "int8":
        return "openvino", "int8 asked for"
    if device == "auto" and (gpu := probable_gpu()) and _torch_reaches(gpu):
        return "torch", f"{gpu} found"
    if precision == "fp16":
        return "torch", "fp16 asked for"
    if importlib.util.find_spec("openvino"):
        return "openvino", "the fastest on this CPU"
    return "torch", "OpenVINO is not installed; it is faster: pip install 'u2cut[openvino]'"


def _open_openvino(path: Path, precision: str, size: int, channels: int) -> Engine:
    try:
        from u2cut.engines.openvino_engine import OpenVINOEngine
    except ImportError as e:
        raise MissingDependencyError("the OpenVINO engine", "openvino") from e
    return OpenVINOEngine(path, precision=precision, size=size, channels=channels)


def probable_gpu() -> str | None:
    """Guess, in microseconds and without torch, whether there is a GPU: "CUDA", "MPS" or None."""
    if sys.platform == "darwin":
        return "MPS" if platform.machine() == "arm64" else None
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return None
    if sys.platform == "win32":
        return "CUDA" if shutil.which("nvidia-smi") else None
    # /dev/nvidiactl: NVIDIA's driver; /dev/dxg: a GPU under WSL; /dev/kfd: ROCm, CUDA to torch.
    driver = any(Path("/dev", node).exists() for node in ("nvidiactl", "dxg", "kfd"))
    return "CUDA" if driver else None


def _torch_reaches(gpu: str) -> bool:
    """Say whether torch can use the GPU, and warn if it can't."""
    if importlib.metadata.version("torch").endswith("+cpu"):
        usable = False
    else:
        import torch

        usable = torch.cuda.is_available() if gpu == "CUDA" else torch.backends.mps.is_available()
    if not usable and gpu == "CUDA":
        logger.warning(
            "there seems to be a GPU, but the installed torch can't use it: running on the CPU. "
            "Install a torch for your GPU (https://pytorch.org/get-started/locally/), or say "
            "--device cpu"
        )
    return usable
