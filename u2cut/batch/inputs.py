"""Finding the photos: files, folders, patterns and lists, in the order in which they are named."""

import contextlib
import glob
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from u2cut.console import logger
from u2cut.errors import InputError, printable
from u2cut.files import STD
from u2cut.imaging.formats import READ
from u2cut.options import InputOptions


@dataclass(frozen=True, slots=True)
class Source:
    """A photo's path, and its place in the tree under OUT."""

    path: str
    relative: str


def has_pattern(text: str) -> bool:
    """Tell whether an input may be a pattern, as ``*.jpg``."""
    return glob.has_magic(text)


def find_sources(
    inputs: tuple[str, ...], options: InputOptions, *, output: str | None
) -> Iterator[Source]:
    """Go through the inputs; a million of them need no more memory than one folder's names.

    Results of an earlier run are no photos of this one: the output folder is left out, or, where
    results go beside their inputs, files named like results.

    Args:
        inputs: Files, folders, patterns, or ``STD``.
        options: How they are found.
        output: Where results go; None for beside their inputs.

    Raises:
        InputError: The list can't be read.
    """
    return _Finder(inputs, options, output).all()


class _Finder:
    def __init__(self, inputs: tuple[str, ...], options: InputOptions, output: str | None) -> None:
        self.inputs = inputs
        self.options = options
        self.results = None if output is None else os.path.realpath(output)

    def all(self) -> Iterator[Source]:
        for text in self.inputs:
            if text == STD:
                yield Source(STD, "stdin")
            elif has_pattern(text) and not os.path.lexists(text):
                yield from self._matching(text)
            else:
                yield from self._file_or_folder(text)
        if self.options.from_file is not None:
            for text in self._listed(self.options.from_file):
                yield Source(text, os.path.basename(text))

    def _file_or_folder(self, text: str) -> Iterator[Source]:
        if os.path.isdir(text):
            yield from self._in_folder(text)
        else:
            yield Source(text, os.path.basename(text))

    def _matching(self, pattern: str) -> Iterator[Source]:
        found = False
        for text in _matches(pattern):
            found = True
            yield from self._file_or_folder(text)
        if not found:
            yield Source(pattern, os.path.basename(pattern))

    def _in_folder(self, root: str) -> Iterator[Source]:
        stack = [root]
        while stack:
            folder = stack.pop()
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda e: e.name)
            except OSError as e:
                logger.warning("%s: can't be listed (%s)", printable(folder), e.strerror or e)
                continue
            below = []
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    # Results of an earlier run aren't photos of this one.
                    if self.options.recursive and os.path.realpath(entry.path) != self.results:
                        below.append(entry.path)
                elif self._looks_like_photo(entry.name) and _is_file(entry):
                    yield Source(entry.path, os.path.relpath(entry.path, root))
            stack.extend(reversed(below))

    def _looks_like_photo(self, name: str) -> bool:
        stem, ending = os.path.splitext(name)
        is_result = self.results is None and stem.endswith((".cutout", ".mask"))
        return ending.lower() in READ and not is_result

    def _listed(self, path: str) -> Iterator[str]:
        separator = b"\0" if self.options.null else b"\n"
        if path == STD and sys.stdin is None:
            raise InputError("stdin is closed: there is no list to read")
        try:
            with open(sys.stdin.fileno() if path == STD else path, "rb", closefd=path != STD) as f:
                rest = self._after_mark(f.read(1 << 16))
                *entries, rest = rest.split(separator)
                yield from self._entries(entries)
                while chunk := f.read(1 << 16):
                    *entries, rest = (rest + chunk).split(separator)
                    yield from self._entries(entries)
                yield from self._entries([rest])
        except OSError as e:
            raise InputError.from_os(e, path, "the list can't be read") from e

    def _after_mark(self, start: bytes) -> bytes:
        """Skip UTF-8's byte order mark; a list in UTF-16, as Windows writes them, is named."""
        if start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InputError("the list is in UTF-16: save it as UTF-8", path=self.options.from_file)
        return start.removeprefix(b"\xef\xbb\xbf")

    def _entries(self, entries: list[bytes]) -> Iterator[str]:
        for entry in entries:
            text = entry if self.options.null else entry.rstrip(b"\r")
            if b"\0" in text:
                raise InputError(
                    "the list holds NUL bytes", path=self.options.from_file, remedy="use -0"
                )
            if text:
                yield os.fsdecode(text)


def _matches(pattern: str) -> list[str]:
    """Expand a pattern as ``glob`` does, but without following links to folders under ``**``.

    A folder with two links to itself would have more paths than anyone can list.
    """
    parts = pattern.split("/")
    if "**" not in parts:
        return sorted(glob.iglob(pattern))
    at = parts.index("**")
    below = "/".join(parts[at + 1 :]) or "*"
    found: set[str] = set()
    for root in glob.glob("/".join(parts[:at]) + "/") if at else [""]:
        for folder, inside, _ in os.walk(root or "."):
            inside[:] = [name for name in inside if not name.startswith(".")]
            beside = folder if root else folder[2:]  # "./a" is written "a"
            found.update(_matches(os.path.join(glob.escape(beside), below)))
    return sorted(found)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether a folder's entry is a file, or a link to one; say so if it isn't."""
    with contextlib.suppress(OSError):  # a link that leads to itself
        if entry.is_file():
            return True
    kind = "a link that leads nowhere" if entry.is_symlink() else "no file"
    logger.warning("%s: is left out, for it is %s", printable(entry.path), kind)
    return False
