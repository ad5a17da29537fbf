"""Messages for what a machine lacks: memory, or a compiler."""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

from u2cut.errors import DataError, DeviceError, printable
from u2cut.training.config import TrainConfig

_MEMORY = re.compile(r"can't allocate memory|not enough memory|bad_alloc|Insufficient memory")
_DEAD_WORKER = re.compile(r"DataLoader worker \(pid")


@contextmanager
def explain_memory(config: TrainConfig, world: int) -> Iterator[None]:
    """Say what needs less memory, where it has run out.

    Args:
        config: The config.
        world: How many processes share each batch.

    Raises:
        DataError: Memory ran out, here or in a process that prepares batches.
    """
    try:
        yield
    except (MemoryError, RuntimeError, cv2.error) as e:  # torch's own is a RuntimeError
        if _DEAD_WORKER.search(str(e)):
            raise DataError(
                f"a process that prepares batches died ({_first_line(e)}): if memory is short, "
                "fewer --workers need less; in a container, allow more shared memory (--shm-size)"
            ) from e
        if isinstance(e, MemoryError | torch.OutOfMemoryError) or _MEMORY.search(str(e)):
            raise DataError(
                f"out of memory with {config.batch_size} photos of {config.input_size} pixels; "
                f"try {_smaller(config, world)}"
            ) from e
        raise


def _smaller(config: TrainConfig, world: int) -> str:
    """Name options that need less memory; if possible, for steps over as many photos."""
    share = config.batch_size // world
    if share < 2:
        return "a smaller --crop and --resize, or --precision bf16"
    batch = share // 2 * world
    return f"--batch-size {batch} --accumulate {math.ceil(config.photos_per_step / batch)}"


def require_compiler(device: torch.device) -> None:
    """Compile one function: its failure comes at once, the network's after the photos were read.

    Raises:
        DeviceError: Torch can't compile for this device.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(8, device=device))
    except RuntimeError as e:  # which torch's own errors of compilation are
        raise DeviceError(
            f"--compile: torch can't compile here ({_first_line(e)}); it needs a C++ compiler and "
            "Python's headers (on Debian: apt install g++ python3-dev); or leave out --compile"
        ) from e


def _first_line(error: Exception) -> str:
    return printable(next(iter(str(error).strip().splitlines()), type(error).__name__)[:200])
