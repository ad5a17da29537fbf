"""The folder of fetched weights: where a file is, and whether it is still what it must be."""

import hashlib
import os
import stat
import time
from pathlib import Path

import platformdirs

from u2cut.errors import WeightsError
from u2cut.stdio import printable
from u2cut.weights.registry import WeightSpec

FORGET_FAILURE_SECONDS = 600


def folder() -> Path:
    """Return where weights are kept: ``weights`` in U2CUT_HOME or the platform's cache folder."""
    home = os.environ.get("U2CUT_HOME") or platformdirs.user_cache_dir("u2cut", appauthor=False)
    return Path(home).expanduser().absolute() / "weights"


def path_of(spec: WeightSpec) -> Path:
    """Return where the weights are, once they are there."""
    return folder() / f"{spec.name}.pth"


def part_of(spec: WeightSpec) -> Path:
    """Return where an unfinished download is kept until it can go on."""
    return folder() / f"{spec.name}.pth.part"


def fault(spec: WeightSpec, path: Path, *, full: bool = False) -> str | None:
    """Say what is wrong with a file that should hold these weights; None when nothing is.

    A file that was hashed once is known by its size and time stamp afterwards.

    Args:
        spec: What the file must be.
        path: The file.
        full: Hash it in any case.

    Raises:
        WeightsError: The file can't be read, or isn't a file of its own.
    """
    shown = printable(path)
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(
                f"{shown} is {'a link' if stat.S_ISLNK(status.st_mode) else 'not a file'}, "
                f"and is refused; take it away with: u2cut weights remove {spec.name}"
            )
        if spec.size is not None and status.st_size != spec.size:
            return f"it has {status.st_size:,} bytes where {spec.size:,} belong"
        known = f"{spec.sha256} {status.st_size} {status.st_mtime_ns}"
        if not full and _read_stamp(path) == known:
            return None
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise WeightsError(f"{shown}: {e.strerror or e}") from e
    if digest != spec.sha256:
        return f"its SHA-256 is {digest} where {spec.sha256} belongs"
    _write_stamp(path, known)
    return None


def is_cached(spec: WeightSpec) -> bool:
    """Whether something lies where the weights belong, sound or not."""
    return os.path.lexists(path_of(spec))


def remove(spec: WeightSpec) -> list[Path]:
    """Delete what the cache holds of these weights; return what there was.

    Raises:
        WeightsError: Something can't be deleted.
    """
    path = path_of(spec)
    removed = []
    for leftover in (path, part_of(spec), _stamp_of(path), _failure_of(spec)):
        try:
            leftover.unlink()
        except FileNotFoundError:
            continue
        except OSError as e:
            raise WeightsError(f"{printable(leftover)}: {e.strerror or e}") from e
        removed.append(leftover)
    return removed


def remember_failure(spec: WeightSpec) -> None:
    """Note that the weights could not be had, so that the next runs need not wait again."""
    _write(_failure_of(spec), "could not be fetched\n")


def failed_lately(spec: WeightSpec) -> bool:
    """Whether fetching the weights failed in the last ten minutes."""
    try:
        age = time.time() - _failure_of(spec).lstat().st_mtime
    except OSError:
        return False
    return 0 <= age < FORGET_FAILURE_SECONDS


def forget_failure(spec: WeightSpec) -> None:
    """Take the note of a failure back."""
    _failure_of(spec).unlink(missing_ok=True)


def _stamp_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.verified")


def _failure_of(spec: WeightSpec) -> Path:
    return folder() / f"{spec.name}.unreachable"


def _read_stamp(path: Path) -> str | None:
    try:
        return _stamp_of(path).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _write_stamp(path: Path, text: str) -> None:
    if path.parent == folder():
        _write(_stamp_of(path), text + "\n")


def _write(path: Path, text: str) -> None:
    """Write a note that is nice to have: a folder that can't be written to does not matter."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # a link that lies there is not followed
        with path.open("x", encoding="ascii") as file:
            file.write(text)
    except OSError:
        return
