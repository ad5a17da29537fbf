"""The cache of compiled networks: which file is whose, written whole, checked when read."""

import hashlib
import mmap
import os
from pathlib import Path

import platformdirs

from u2cut.console import logger
from u2cut.errors import OutputError, WeightsError, printable
from u2cut.files.temporary import atomic_write

# Raised whenever what is compiled changes while the weights and the versions don't.
_FORMAT = 3
_DIGEST_BYTES = 32


def folder() -> Path:
    """Return where compiled networks are kept: ``engines`` in U2CUT_HOME or the cache folder."""
    home = os.environ.get("U2CUT_HOME") or platformdirs.user_cache_dir("u2cut", appauthor=False)
    return Path(home).expanduser().absolute() / "engines"


def entry(weights: Path, *, size: int, precision: str, version: str) -> Path:
    """Return where a compiled network belongs.

    Args:
        weights: The weight file; its content names the entry.
        size: Side of the network's inputs.
        precision: What it computes in.
        version: The compiler's.

    Raises:
        WeightsError: The weight file can't be read.
    """
    try:
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise WeightsError.from_os(e, weights) from e
    return folder() / f"{digest[:32]}-{size}-{precision}-{version}-{_FORMAT}.bin"


class Compiled:
    """The entry that `write` kept, mapped into memory: the engine works on the file's pages.

    Attributes:
        body: The compiled network; read-only.
    """

    def __init__(self, content: mmap.mmap) -> None:
        self._content = content
        self.body = memoryview(content)[:-_DIGEST_BYTES]

    @property
    def is_whole(self) -> bool:
        """Return whether it is still what was written."""
        return hashlib.sha256(self.body).digest() == self._content[-_DIGEST_BYTES:]

    def forget(self) -> None:
        """Give the pages back; those that are needed again come from the file."""
        if hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
            self._content.madvise(mmap.MADV_DONTNEED)


def read(path: Path) -> Compiled | None:
    """Return what `write` kept; None if there is nothing, or if it is no longer the same."""
    try:
        with path.open("rb") as file:
            entry = Compiled(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError:
        return None
    except ValueError:  # an empty file can't be mapped
        entry = None
    if entry is not None and entry.is_whole:
        return entry
    logger.info("%s is damaged: compiling again", printable(path))
    return None


def write(path: Path, body: bytes) -> None:
    """Keep a compiled network, whole or not at all.

    Raises:
        OutputError: The cache can't be written to.
    """
    try:
        atomic_write(path, body + hashlib.sha256(body).digest())
    except OSError as e:
        remedy = "make room there, or set U2CUT_HOME to another folder"
        raise OutputError.from_os(e, path.parent, "can't be written to", remedy=remedy) from e
