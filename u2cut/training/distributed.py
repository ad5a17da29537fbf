"""The processes of one run: alone, or started by PyTorch's ``torchrun``."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor, nn

from u2cut.errors import DeviceError, printable

_PATIENCE: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """Which process of a run this is.

    Attributes:
        rank: Its number, from 0; process 0 alone writes.
        world_size: How many processes there are.
        device: What it computes on.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes, evaluates and reports."""
        return self.rank == 0

    def any_wants(self, stop: bool) -> bool:
        """Return whether any process wants to stop; all must ask together."""
        if self.world_size == 1:
            return stop
        votes = torch.tensor([float(stop)], device=self.device)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return bool(votes.item())

    def barrier(self) -> None:
        """Wait for the others."""
        if self.world_size > 1:
            dist.barrier()


def join_group(device: str) -> ProcessGroup:
    """Join the processes that torchrun started, or be alone.

    Args:
        device: auto, cpu, cuda or mps.

    Raises:
        DeviceError: The device isn't there.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if world > 1:
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        # Process 0 decodes the data, and asks the teacher, while the others wait for it.
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_PATIENCE)
    return ProcessGroup(rank, world, chosen)


def leave_group(group: ProcessGroup) -> None:
    """Close what ``join_group`` opened."""
    if group.world_size > 1:
        dist.destroy_process_group()


def _device(name: str, local_rank: int) -> torch.device:
    there = {"cuda": torch.cuda.device_count(), "mps": int(torch.mps.is_available()), "cpu": 1}
    if name == "auto":
        name = next(kind for kind, count in there.items() if count)
    kind, _, number = name.partition(":")
    if kind not in there or (number and not number.isdecimal()):
        raise DeviceError(f"--device {printable(name)}: it is auto, cpu, cuda, cuda:N or mps")
    index = int(number or local_rank) if kind == "cuda" else 0
    if index >= there[kind]:
        raise DeviceError(f"--device {name}: there is none here; --device cpu always works")
    return torch.device(kind, index) if kind == "cuda" else torch.device(kind)


class _SumOverGroup(torch.autograd.Function):
    """Adds a tensor up over all processes; its gradient is added up likewise."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        total = grad.clone()
        dist.all_reduce(total)
        return total


def _sum_over_group(x: Tensor) -> Tensor:
    total: Tensor = _SumOverGroup.apply(x)  # type: ignore[no-untyped-call]
    return total


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch norm over the photos of all processes, each of which has as many.

    PyTorch's own does this on GPUs only; this one is the same arithmetic for any backend.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, H, W)."""
        if not self.training:
            return super().forward(input)
        x = input if input.dtype == torch.float64 else input.float()
        world = dist.get_world_size()
        mean = _sum_over_group(x.mean(dim=(0, 2, 3))) / world
        centred = x - mean[:, None, None]
        var = _sum_over_group(centred.square().mean(dim=(0, 2, 3))) / world
        self._follow(mean.detach(), var.detach(), x.numel() // x.shape[1] * world)
        gain = self.weight * torch.rsqrt(var + self.eps)
        out: Tensor = centred * gain[:, None, None] + self.bias[:, None, None]
        return out.to(input.dtype)

    def _follow(self, mean: Tensor, var: Tensor, count: int) -> None:
        assert self.momentum is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(var * count / max(1, count - 1), self.momentum)
        self.num_batches_tracked += 1


def synchronise_batch_norm(network: nn.Module) -> None:
    """Replace every batch norm in place, keeping names and values."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SyncBatchNorm
