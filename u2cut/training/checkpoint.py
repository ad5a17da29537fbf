"""The files of a run, always whole: checkpoints to go on from, weights to use."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save
from torch import Tensor, nn

from u2cut.errors import DataError, OutputError, printable
from u2cut.files.temporary import atomic_write


def write(path: Path, data: bytes | str | Callable[[BinaryIO], object]) -> None:
    """Write a file of a run, whole or not at all.

    Args:
        path: The file.
        data: What it holds, or what writes it to a stream.

    Raises:
        OutputError: It can't be written; what was there before is untouched.
    """
    try:
        atomic_write(path, data.encode() if isinstance(data, str) else data)
    except OSError as e:
        raise OutputError.from_os(e, path, "can't be written") from e
    except RuntimeError as e:  # torch's own for a full disk
        raise OutputError(f"can't be written ({printable(e)})", path=path) from e


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
    """Write ``step-N.pt`` and drop the oldest beyond ``keep``.

    Args:
        folder: The run's checkpoints.
        step: Optimiser steps done.
        state: Tensors and plain values only.
        keep: How many to keep.
    """
    path = folder / f"step-{step:07d}.pt"
    write(path, lambda stream: torch.save(dict(state), stream))
    for old in list_checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read the newest checkpoint of a run.

    Raises:
        DataError: There is none, or it's broken or can't be read.
    """
    found = list_checkpoints(folder)
    if not found:
        raise DataError("no checkpoint to resume from", path=folder, remedy="start another run")
    try:
        state: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
    except OSError as e:
        raise DataError.from_os(e, found[-1], "can't be read") from e
    except Exception as e:  # whatever a broken zip makes torch raise
        raise DataError(
            "broken", path=found[-1], remedy="delete it to resume from the one before"
        ) from e
    return state


def save_weights(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the weights as safetensors, under their official names."""
    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    write(path, save(tensors, dict(metadata)))
