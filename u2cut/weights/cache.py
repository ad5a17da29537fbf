"""The folder of fetched weights: where a file is, and whether it is still what it must be."""

import errno
import hashlib
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

from u2cut.errors import WeightsError, system_reason
from u2cut.stdio import logger, printable
from u2cut.weights.registry import WeightSpec

FORGET_FAILURE_SECONDS = 600
LOCK_SECONDS = 1800
TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


def folder() -> Path:
    """Return where weights are kept: ``weights`` in U2CUT_HOME or the platform's cache folder."""
    home = os.environ.get("U2CUT_HOME") or platformdirs.user_cache_dir("u2cut", appauthor=False)
    return Path(home).expanduser().absolute() / "weights"


def path_of(spec: WeightSpec) -> Path:
    """Return where the weights are, once they are there."""
    return folder() / f"{spec.name}.pth"


def is_cached(spec: WeightSpec) -> bool:
    """Whether something lies where the weights belong, sound or not."""
    return os.path.lexists(path_of(spec))


def fault(spec: WeightSpec, *, full: bool = False) -> str | None:
    """Say what is wrong with the cached file; None when nothing is.

    A file that was hashed once is known by its size and time stamp afterwards.

    Args:
        spec: What the file must be.
        full: Hash it in any case.

    Raises:
        WeightsError: There is no file, it can't be read, or it is a link.
    """
    path = path_of(spec)
    try:
        status = path.lstat()
    except OSError as e:
        raise WeightsError(f"{printable(path)}: {system_reason(e)}") from e
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(
            f"{printable(path)} is {'a link' if stat.S_ISLNK(status.st_mode) else 'not a file'} "
            f"and is refused; take it away with: u2cut weights remove {spec.name}"
        )
    if not full and _read_stamp(spec) == _stamp(spec, status):
        return None
    reason = mismatch(spec, path)
    if reason is None:
        _write(_stamp_of(spec), _stamp(spec, status))
    return reason


def mismatch(spec: WeightSpec, path: Path) -> str | None:
    """Say how a file differs from these weights, by its size and its hash; None if it doesn't.

    Raises:
        WeightsError: The file can't be read.
    """
    try:
        size = path.stat().st_size
        if spec.size is not None and size != spec.size:
            return f"it has {size:,} bytes where {spec.size:,} belong"
        digest = sha256(path)
    except OSError as e:
        raise WeightsError(f"{printable(path)}: {system_reason(e)}") from e
    return None if digest == spec.sha256 else f"its SHA-256 is {digest}, not {spec.sha256}"


def sha256(path: Path) -> str:
    """Return the hash of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def lock(spec: WeightSpec, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold what the cache has of these weights against other processes.

    Raises:
        WeightsError: Another process kept it for too long, or the folder can't be written to.
    """
    from filelock import FileLock, Timeout

    file = folder() / f".{spec.name}.lock"
    holder = FileLock(file, timeout=seconds)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        try:
            holder.acquire(timeout=0)
        except Timeout:
            logger.warning("another u2cut is busy with %s; waiting for it", spec.name)
            holder.acquire()
    except Timeout as e:
        raise WeightsError(
            f"{spec.name}: another process has been busy with it for {seconds / 60:.0f} minutes; "
            f"end it and try again ({printable(file)})"
        ) from e
    except (OSError, NotImplementedError) as e:
        raise unwritable(e) from e
    try:
        yield
    finally:
        holder.release()


def unwritable(error: Exception) -> WeightsError:
    """Return the error to raise when the folder doesn't take a file."""
    where = f"can't write in {printable(folder())}"
    if isinstance(error, OSError) and error.errno in TOO_MANY_OPEN:
        return WeightsError(f"{where}: {system_reason(error)}")
    reason = system_reason(error) if isinstance(error, OSError) else error
    return WeightsError(f"{where}: {reason}; make room there, or set U2CUT_HOME to another folder")


def open_part(spec: WeightSpec) -> BinaryIO:
    """Open the unfinished file of these weights, kept from an earlier run or new; never a link."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(part_of(spec), flags, 0o644), "r+b")


def part_of(spec: WeightSpec) -> Path:
    """Return where an unfinished file is kept until it is whole."""
    return folder() / f"{spec.name}.pth.part"


def accept_part(spec: WeightSpec) -> Path:
    """Put a finished file, whose hash was found right, in its place."""
    path = path_of(spec)
    part_of(spec).replace(path)
    _write(_stamp_of(spec), _stamp(spec, path.stat()))
    _failure_of(spec).unlink(missing_ok=True)
    return path


def discard_part(spec: WeightSpec) -> None:
    """Delete the unfinished file."""
    part_of(spec).unlink(missing_ok=True)


def check_space(need: int) -> None:
    """Make sure that so many bytes more fit into the folder.

    Raises:
        WeightsError: They don't.
    """
    free = shutil.disk_usage(folder()).free
    if free < need:
        raise WeightsError(
            f"{need / 1e6:.0f} MB more are needed in {printable(folder())}, where "
            f"{free / 1e6:.0f} MB are free; make room, or set U2CUT_HOME to another folder"
        )


def copy_in(spec: WeightSpec, source: Path) -> Path:
    """Copy a file that someone fetched by hand into its place; return where that is.

    Raises:
        WeightsError: It isn't these weights, or the folder doesn't take it.
    """
    with lock(spec):
        try:
            with source.open("rb") as file, open_part(spec) as part:
                if not os.path.samestat(os.fstat(file.fileno()), os.fstat(part.fileno())):
                    part.truncate(0)
                    shutil.copyfileobj(file, part)
                    part.flush()
                    os.fsync(part.fileno())
            # The copy is what counts: the source may have changed since it was looked at.
            reason = mismatch(spec, part_of(spec))
            if reason is None:
                return accept_part(spec)
            discard_part(spec)
        except OSError as e:
            raise unwritable(e) from e
    raise WeightsError(f"{printable(source)} is not {spec.name}: {reason}")


def remove(spec: WeightSpec) -> list[Path]:
    """Delete what the cache holds of these weights; return what there was.

    Raises:
        WeightsError: Something can't be deleted.
    """
    removed = []
    for path in (path_of(spec), part_of(spec), _stamp_of(spec), _failure_of(spec)):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as e:
            raise WeightsError(f"{printable(path)}: {system_reason(e)}") from e
        removed.append(path)
    return removed


def remember_failure(spec: WeightSpec) -> None:
    """Note that the weights could not be had, so that the next runs need not wait again."""
    _write(_failure_of(spec), "could not be fetched")


def failed_lately(spec: WeightSpec) -> bool:
    """Whether the weights could not be had in the last ten minutes."""
    try:
        age = time.time() - _failure_of(spec).lstat().st_mtime
    except OSError:
        return False
    return 0 <= age < FORGET_FAILURE_SECONDS


def _stamp(spec: WeightSpec, status: os.stat_result) -> str:
    return f"{spec.sha256} {status.st_size} {status.st_mtime_ns}"


def _stamp_of(spec: WeightSpec) -> Path:
    return folder() / f"{spec.name}.pth.verified"


def _failure_of(spec: WeightSpec) -> Path:
    return folder() / f"{spec.name}.unreachable"


def _read_stamp(spec: WeightSpec) -> str | None:
    try:
        return _stamp_of(spec).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None


def _write(path: Path, text: str) -> None:
    """Write a note that is nice to have: a folder that can't be written to does not matter."""
    try:
        path.unlink(missing_ok=True)  # so that a link which lies there is not followed
        with path.open("x", encoding="ascii") as file:
            file.write(text + "\n")
    except OSError:
        logger.debug("%s could not be written", path)
