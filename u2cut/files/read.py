"""Inputs' bytes: from files, pipes and stdin, in bounded amounts."""

import errno
import os
import stat
import sys
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from u2cut.errors import InputError, printable
from u2cut.files import STD
from u2cut.files.address import address_of

MOST_BYTES = 2 << 30
_CHUNK = 1 << 20

# What isn't read, and what a message calls it.
_REFUSED = {
    stat.S_IFDIR: "is a folder where a photo is wanted (lists name photos, not folders)",
    stat.S_IFCHR: "is a device, not a photo",
    stat.S_IFBLK: "is a device, not a photo",
    stat.S_IFSOCK: "is a socket, not a photo",
}


def read(source: str, *, signed: bool = True, etag: str = "") -> bytes:
    """Read an input's bytes, 2 GiB at most; pipes by name are read like files.

    Args:
        source: A path, an address, or ``STD`` for stdin.
        signed: Show an address' store credentials.
        etag: The version that is meant, of what is in a store; empty for whatever is there.

    Raises:
        InputError: It can't be read.
    """
    if address := address_of(source):
        from u2cut.files import remote

        data = remote.read(address, MOST_BYTES, signed=signed, etag=etag)
    else:
        data = _read_here(source)
    if not data:
        raise InputError("is empty" if source != STD else "brought nothing")
    return data


def _read_here(source: str) -> bytes:
    try:
        return _read_stdin() if source == STD else _read_file(source)
    except OSError as e:
        hint = "; raise the limit with ulimit -n" if e.errno == errno.EMFILE else ""
        raise InputError(f"can't be read ({e.strerror or e}){hint}") from e
    except ValueError as e:  # a NUL in the name
        raise InputError(f"can't be read ({e})") from e


def name_of(source: str) -> str:
    """Return an input's name as messages show it."""
    return "stdin" if source == STD else printable(source)


def _read_stdin() -> bytes:
    if sys.stdin is None:
        raise InputError("is closed")
    return _read_all(sys.stdin.buffer)


def _read_file(path: str) -> bytes:
    _refuse(Path(path).stat().st_mode)  # before opening: that alone does something to a device
    with Path(path).open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        _refuse(status.st_mode)
        if status.st_size > MOST_BYTES:
            raise _too_large()
        return _read_all(file, status.st_size)


def _refuse(mode: int) -> None:
    if reason := _REFUSED.get(stat.S_IFMT(mode)):
        raise InputError(reason)


def _read_all(file: BinaryIO | FileIO, expected: int = 0) -> bytes:
    """Read to the end, which a pipe doesn't announce and a file may move."""
    chunks, total = [], 0
    while chunk := file.read(max(expected + 1, _CHUNK)):
        chunks.append(chunk)
        total += len(chunk)
        if total > MOST_BYTES:
            raise _too_large()
    return b"".join(chunks)


def _too_large() -> InputError:
    return InputError(f"has more than {MOST_BYTES >> 30} GiB")
