"""Notes about files: what a hash found out, kept so that it needn't be found out again.

The note of a file lies beside it, as ``<file>.verified``.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from u2cut.console import logger
from u2cut.errors import WeightsError

_LONGEST: Final = 1 << 14  # bytes


@dataclass(frozen=True, slots=True)
class Note:
    """The facts found when a file was hashed.

    Attributes:
        sha256: Its hash.
        size: Its length in bytes.
        modified: Its time stamp in nanoseconds.
        origin: Where it came from, for a person to read.
    """

    sha256: str
    size: int
    modified: int
    origin: str

    @classmethod
    def of(cls, path: Path, sha256: str, origin: str) -> "Note":
        """Return the note of a file with a known hash."""
        status = path.stat()
        return cls(sha256, status.st_size, status.st_mtime_ns, origin)

    def fits(self, status: os.stat_result) -> bool:
        """Return whether the file has not been touched since."""
        return (self.size, self.modified) == (status.st_size, status.st_mtime_ns)


def mismatch(path: Path, size: int | None, sha256: str) -> str | None:
    """Say how a file differs from the size and the hash that it should have; None if it doesn't.

    Raises:
        WeightsError: The file is unreadable.
    """
    try:
        length = path.stat().st_size
        if size is not None and length != size:
            return f"it has {length:,} bytes where {size:,} are expected"
        digest = hash_file(path)
    except OSError as e:
        raise WeightsError.from_os(e, path) from e
    return None if digest == sha256 else f"its SHA-256 is {digest}, not {sha256}"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_note(path: Path) -> Note | None:
    """Return the note beside a file of the cache; None if there is none that makes sense."""
    return parse_note(read_text(note_path(path)))


def write_note(path: Path, note: Note) -> None:
    """Write the note of a file of the cache."""
    write_text(note_path(path), format_note(note))


def parse_note(text: str | None) -> Note | None:
    """Return the note that a text is; None if it is none."""
    words = (text or "").strip().split(" ", 3)
    if len(words) < 3 or not (words[1].isdecimal() and words[2].isdecimal()):
        return None
    return Note(words[0], int(words[1]), int(words[2]), words[3] if len(words) > 3 else "")


def format_note(note: Note) -> str:
    """Return a note as a line of text."""
    return f"{note.sha256} {note.size} {note.modified} {note.origin}".rstrip()


def read_text(path: Path) -> str | None:
    """Return the start of a small file; None if it can't be read."""
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode()
    except (OSError, ValueError):
        return None


def write_text(path: Path, text: str) -> None:
    """Write a note that is nice to have: a folder that can't be written to does not matter."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # so that a link which lies there is not followed
        with path.open("x", encoding="utf-8", errors="replace") as file:
            file.write(text + "\n")
    except OSError:
        logger.debug("%s could not be written", path)


def note_path(path: Path) -> Path:
    """Return where the note of a file lies."""
    return path.with_name(f"{path.name}.verified")
