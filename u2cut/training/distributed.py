"""The processes of one run: alone, or started by PyTorch's ``torchrun``."""

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist

from u2cut.errors import DeviceError, printable

_PATIENCE: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process's place among those of a run.

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
        """Return whether this process writes, evaluates and reports."""
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
