"""The cache of fetched weights: where each form lies, and whether it is still what it must be.

A ``.pth`` is kept as it is. An ONNX file is kept converted, as ``<SHA-256 of it>.safetensors``.
Beside each file stands a note, ``<file>.verified``: its hash, length, time stamp and origin.
"""

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

from u2cut.console import logger
from u2cut.errors import WeightsError, printable
from u2cut.weights.notes import (
    Note,
    format_note,
    mismatch,
    note_path,
    parse_note,
    read_note,
    read_text,
    write_note,
    write_text,
)
from u2cut.weights.registry import Form, WeightSpec

FORGET_FAILURE_SECONDS = 600
LOCK_SECONDS = 1800
TOO_MANY_OPEN = (errno.EMFILE, errno.ENFILE)


class CacheError(WeightsError):
    """The cache's folder doesn't take a file."""


def folder() -> Path:
    """Return where weights are kept: ``weights`` in U2CUT_HOME or the platform's cache folder."""
    home = os.environ.get("U2CUT_HOME") or platformdirs.user_cache_dir("u2cut", appauthor=False)
    return Path(home).expanduser().absolute() / "weights"


def path_of(form: Form) -> Path:
    """Return where this form is kept, once it is there."""
    return converted_path(form.sha256) if form.format == "onnx" else folder() / form.filename


def converted_path(sha256: str) -> Path:
    """Return where an ONNX file with this hash is kept after conversion."""
    return folder() / f"{sha256}.safetensors"


def present(spec: WeightSpec) -> list[Form]:
    """Return the forms of which something lies in the cache, sound or not."""
    return [form for form in spec.forms if os.path.lexists(path_of(form))]


def fault(form: Form, *, full: bool = False) -> str | None:
    """Say what is wrong with a cached file; None when nothing is.

    A file that was hashed once is known by its size and time stamp afterwards.

    Args:
        form: What the file must be.
        full: Hash it in any case.

    Raises:
        WeightsError: There is no file, it is unreadable, or it is a link.
    """
    path = path_of(form)
    status = _status(path)
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(
            f"{'a link' if stat.S_ISLNK(status.st_mode) else 'not a file'}, which is refused",
            path=path,
            remedy=f"take it away with: u2cut weights remove {form.network}",
        )
    if form.format == "onnx":
        return conversion_fault(path, full=full)
    note = read_note(path)
    if not full and note is not None and note.sha256 == form.sha256 and note.fits(status):
        return None
    reason = mismatch(path, form.size, form.sha256)
    if reason is None:
        write_note(path, Note.of(path, form.sha256, note.origin if note else ""))
    return reason


def conversion_fault(path: Path, *, full: bool = False) -> str | None:
    """Say what is wrong with a converted file, which its own note vouches for.

    Raises:
        WeightsError: There is no file, or it is unreadable.
    """
    status = _status(path)
    note = read_note(path)
    if note is None:
        return "the note of its SHA-256 is missing"
    if not full and note.fits(status):
        return None
    reason = mismatch(path, note.size, note.sha256)
    if reason is None and not note.fits(status):
        write_note(path, Note.of(path, note.sha256, note.origin))
    return reason


@contextmanager
def lock(name: str, seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold what the cache has under this name against other processes.

    Raises:
        CacheError: The folder is not writable.
        WeightsError: Another process kept it for too long.
    """
    from filelock import FileLock, Timeout

    file = folder() / f".{name}.lock"
    holder = FileLock(file, timeout=seconds)
    try:
        folder().mkdir(parents=True, exist_ok=True)
        try:
            holder.acquire(timeout=0)
        except Timeout:
            logger.warning("another u2cut is busy with %s; waiting for it", name)
            holder.acquire()
    except Timeout as e:
        raise WeightsError(
            f"{name}: another process has been busy with it for {seconds / 60:.0f} minutes; "
            f"end it and try again ({printable(file)})"
        ) from e
    except (OSError, NotImplementedError) as e:
        raise unwritable(e) from e
    try:
        yield
    finally:
        holder.release()


def unwritable(error: Exception) -> CacheError:
    """Return the error to raise when the folder doesn't take a file."""
    remedy: str | None = "make room there, or set U2CUT_HOME to another folder"
    if isinstance(error, OSError):
        if error.errno in TOO_MANY_OPEN:
            remedy = None
        return CacheError.from_os(error, folder(), "can't be written to", remedy=remedy)
    return CacheError(f"can't be written to ({error})", path=folder(), remedy=remedy)


def open_part(form: Form) -> BinaryIO:
    """Open the unfinished file of this form, kept from an earlier run or new; never a link."""
    return open_private(part_of(form))


def open_private(path: Path) -> BinaryIO:
    """Open a file of the cache for reading and writing, made if it is missing; never a link."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o644), "r+b")


def part_of(form: Form) -> Path:
    """Return where an unfinished file is kept until it is whole."""
    return folder() / f"{form.filename}.part"


def accept_part(form: Form, origin: str) -> Path:
    """Put a finished file, whose hash was found right, in its place; convert it if it is ONNX.

    Args:
        form: What it is.
        origin: Where it came from.

    Raises:
        WeightsError: The file converts to no network.
        OSError: The disk doesn't take it.
    """
    path, part = path_of(form), part_of(form)
    if form.format == "onnx":
        from u2cut.weights.convert import convert

        convert(part, form.sha256, origin)
        part.unlink()
    else:
        part.replace(path)
        write_note(path, Note.of(path, form.sha256, origin))
    forget_failures(form.network)
    return path


def discard_part(form: Form) -> None:
    """Delete the unfinished file."""
    part_of(form).unlink(missing_ok=True)


def check_space(need: int) -> None:
    """Make sure that so many bytes more fit into the folder.

    Raises:
        CacheError: They don't.
    """
    free = shutil.disk_usage(folder()).free
    if free < need:
        raise CacheError(
            f"{need / 1e6:.0f} MB more are needed in {printable(folder())}, where "
            f"{free / 1e6:.0f} MB are free; make room, or set U2CUT_HOME to another folder"
        )


def copy_in(form: Form, source: Path) -> Path:
    """Copy a file that someone fetched by hand into its place; return where that is.

    Raises:
        WeightsError: It isn't this form, or the folder doesn't take it.
    """
    with lock(form.network):
        try:
            with source.open("rb") as file, open_part(form) as part:
                if not os.path.samestat(os.fstat(file.fileno()), os.fstat(part.fileno())):
                    part.truncate(0)
                    shutil.copyfileobj(file, part)
                    part.flush()
                    os.fsync(part.fileno())
            # The copy is what counts: the source may have changed since it was hashed.
            reason = mismatch(part_of(form), form.size, form.sha256)
            if reason is None:
                return accept_part(form, f"imported from {printable(source.absolute())}")
            discard_part(form)
        except OSError as e:
            discard_part(form)
            raise unwritable(e) from e
    raise WeightsError(f"{printable(source)} is not {form.filename}: {reason}")


def remove(spec: WeightSpec) -> list[Path]:
    """Delete what the cache holds of these weights; return what there was.

    Raises:
        WeightsError: Something can't be deleted.
    """
    paths = [_failures_of(spec.name)]
    for form in spec.forms:
        path = path_of(form)
        paths += [path, note_path(path), part_of(form), _found_note(form)]
        if form.format == "onnx":
            paths.append(path.with_name(f"{path.name}.part"))
    removed = []
    for path in paths:
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as e:
            raise WeightsError.from_os(e, path) from e
        removed.append(path)
    return removed


def remember_failures(name: str, places: Set[str]) -> None:
    """Note that these places didn't give the weights, so that the next runs need not wait again."""
    write_text(_failures_of(name), "\n".join(sorted(places)))


def failed_lately(name: str) -> Set[str]:
    """Return the places that didn't give the weights in the last ten minutes."""
    path = _failures_of(name)
    try:
        age = time.time() - path.lstat().st_mtime
    except OSError:
        return set()
    if not 0 <= age < FORGET_FAILURE_SECONDS:
        return set()
    return set((read_text(path) or "").splitlines())


def forget_failures(name: str) -> None:
    """Forget which places didn't give the weights."""
    _failures_of(name).unlink(missing_ok=True)


def found_before(form: Form, path: Path, status: os.stat_result) -> bool:
    """Return whether this file outside of the cache was hashed before and found to be this form."""
    note = parse_note(read_text(_found_note(form)))
    return note is not None and note.fits(status) and note.origin == printable(path)


def note_found(form: Form, path: Path, status: os.stat_result) -> None:
    """Note that this file outside of the cache is this form, so that it isn't hashed each time."""
    note = Note(form.sha256, status.st_size, status.st_mtime_ns, printable(path))
    write_text(_found_note(form), format_note(note))


def _status(path: Path) -> os.stat_result:
    try:
        return path.lstat()
    except OSError as e:
        raise WeightsError.from_os(e, path) from e


def _found_note(form: Form) -> Path:
    return folder() / f"{form.filename}.found"


def _failures_of(name: str) -> Path:
    return folder() / f"{name}.unreachable"
