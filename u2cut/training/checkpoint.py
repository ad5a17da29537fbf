"""What a run leaves behind, always whole: checkpoints to go on from, weights to use."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from u2cut.console import printable
from u2cut.errors import DataError, OutputError, system_reason


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in its place.

    Raises:
        OutputError: It can't be written; what was there before is untouched.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        usual = part.stat().st_mode
        write(part)
        part.chmod(usual)  # safetensors would let nobody else read it
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(path)
    except Exception as e:  # torch and safetensors have errors of their own for a full disk
        part.unlink(missing_ok=True)
        if isinstance(e, OSError | RuntimeError) or type(e).__name__ == "SafetensorError":
            reason = system_reason(e) if isinstance(e, OSError) else e
            raise OutputError(f"{printable(path)}: can't be written ({printable(reason)})") from e
        raise


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
    """Write ``step-N.pt`` and drop the oldest beyond ``keep``.

    Args:
        folder: The run's checkpoints.
        step: Optimiser steps done.
        state: Tensors and plain values only.
        keep: How many to keep.
    """
    path = folder / f"step-{step:07d}.pt"
    write_whole(path, lambda part: torch.save(dict(state), part))
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
        raise DataError(f"{printable(folder)}: no checkpoint to resume from; start another run")
    try:
        state: dict[str, Any] = torch.load(found[-1], map_location="cpu", weights_only=True)
    except OSError as e:
        raise DataError(f"{printable(found[-1])}: can't be read ({system_reason(e)})") from e
    except Exception as e:  # whatever a broken zip makes torch raise
        raise DataError(
            f"{printable(found[-1])}: broken; delete it to resume from the one before"
        ) from e
    return state


def save_weights(path: Path, network: nn.Module, metadata: Mapping[str, str]) -> None:
    """Write the weights as safetensors, under their official names."""
    tensors: dict[str, Tensor] = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    write_whole(path, lambda part: save_file(tensors, part, dict(metadata)))
