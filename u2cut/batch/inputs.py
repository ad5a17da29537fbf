"""Finding the photos: files, folders, patterns and lists, in the order in which they are named."""

import contextlib
import csv
import fnmatch
import glob
import gzip
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from urllib.parse import unquote_plus

from u2cut.console import NOTICE, logger
from u2cut.errors import InputError, printable
from u2cut.files import STD
from u2cut.files.address import address_of, base_name, is_web, stays_inside
from u2cut.files.read import read
from u2cut.imaging.formats import READ
from u2cut.options import InputOptions


@dataclass(frozen=True, slots=True)
class Source:
    """A photo that was found.

    Attributes:
        path: Its path or address.
        relative: Its place in the tree under OUT.
        etag: What its store calls this version of it, if it does.
    """

    path: str
    relative: str
    etag: str = ""


def has_pattern(text: str) -> bool:
    """Tell whether an input may be a pattern, as ``*.jpg``."""
    return glob.has_magic(text)


def find_sources(
    inputs: tuple[str, ...],
    options: InputOptions,
    *,
    output: str | None,
    unlisted: Callable[[str], None] = lambda folder: None,
    more: Iterable[Source] = (),
) -> Iterator[Source]:
    """Go through the inputs; a million of them need no more memory than one folder's names.

    Results of an earlier run are no photos of this one: the output folder is left out, and so are
    files named like results beside the photo that they would be of.

    Args:
        inputs: Files, folders, patterns, or ``STD``.
        options: How they are found.
        output: Where results go; None for beside their inputs.
        unlisted: Called with each folder that can't be listed.
        more: Photos that were found elsewhere, to come last.

    Raises:
        InputError: The list can't be read.
    """
    return chain(_Finder(inputs, options, output, unlisted).all(), more)


def inventory(path: str) -> Iterator[Source]:
    """Read the photos of an inventory: bucket and key in each line, as S3 writes them.

    Args:
        path: A CSV file, or its address; gzipped if its name ends in .gz. Keys are percent-encoded.

    Raises:
        InputError: It can't be read, or isn't an inventory.
    """
    try:
        file: io.BytesIO | gzip.GzipFile = io.BytesIO(read(path))
    except InputError as e:
        raise InputError(str(e), path=path) from e
    if path.endswith(".gz"):
        file = gzip.GzipFile(fileobj=file)
    try:
        for row in csv.reader(io.TextIOWrapper(file, "utf-8", newline="")):
            if len(row) < 2:
                raise InputError("no inventory: lines hold bucket and key", path=path)
            key = unquote_plus(row[1])
            if _is_photo(key) and stays_inside(key):
                yield Source(f"s3://{row[0]}/{key}", key)
    except (OSError, EOFError, ValueError, csv.Error) as e:
        raise InputError(f"isn't a CSV file ({e})", path=path) from e


class _Finder:
    def __init__(
        self,
        inputs: tuple[str, ...],
        options: InputOptions,
        output: str | None,
        unlisted: Callable[[str], None],
    ) -> None:
        self.inputs = inputs
        self.options = options
        self.results = None if output is None else address_of(output) or os.path.realpath(output)
        self.unlisted = unlisted
        self.own_results = 0

    def all(self) -> Iterator[Source]:
        yield from self._all()
        if self.own_results:
            logger.log(
                NOTICE,
                "%d results of earlier runs (*.cutout.*, *.mask.*) are left out",
                self.own_results,
            )

    def _all(self) -> Iterator[Source]:
        for text in self.inputs:
            if text == STD:
                yield Source(STD, "stdin")
            elif address := address_of(text):
                yield from self._at(address)
            elif has_pattern(text) and not os.path.lexists(text):
                yield from self._matching(text)
            else:
                yield from self._file_or_folder(text)
        if self.options.from_file is not None:
            for text in self._listed(self.options.from_file):
                yield Source(text, base_name(text))

    def _at(self, address: str) -> Iterator[Source]:
        """Go through what an address means: a photo, all under a folder, or a pattern's keys."""
        pattern = "*" in address and not is_web(address)
        if is_web(address) or not (pattern or address.endswith("/") or not _is_photo(address)):
            yield Source(address, base_name(address))
            return
        from u2cut.files import remote

        root = address.partition("*")[0].rpartition("/")[0] if pattern else address.rstrip("/")
        within, empty = self._wanted(root, address if pattern else None), True
        for found, etag in remote.listing(root, signed=not self.options.no_sign):
            if not within(found):
                continue
            relative = found.removeprefix(f"{root}/")
            if not stays_inside(relative):
                logger.warning("%s: is left out, for its name leaves the tree", printable(found))
                continue
            empty = False
            yield Source(found, relative, etag)
        if empty:
            self._warn_of_empty(address)

    def _warn_of_empty(self, folder: str) -> None:
        inside = "" if self.options.recursive else "; --recursive goes into folders inside"
        logger.warning("%s: no photos in this folder%s", printable(folder), inside)

    def _wanted(self, root: str, pattern: str | None) -> Callable[[str], bool]:
        """Return what tells the photos of a run among all addresses under a folder."""

        def wanted(found: str) -> bool:
            relative = found.removeprefix(f"{root}/")
            if pattern is not None and not fnmatch.fnmatchcase(found, pattern):
                return False
            deep = "/" in relative and (pattern is None or "**" not in pattern)
            if (deep and not self.options.recursive) or not _is_photo(relative):
                return False
            if self.results is not None and found.startswith(f"{self.results.rstrip('/')}/"):
                return False
            if self.results is None and _result_of(base_name(found)):
                self.own_results += 1
                return False
            return True

        return wanted

    def _file_or_folder(self, text: str) -> Iterator[Source]:
        if os.path.isdir(text):
            empty = True
            for source in self._in_folder(text):
                empty = False
                yield source
            if empty:
                self._warn_of_empty(text)
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
                logger.error("%s: can't be listed (%s)", printable(folder), e.strerror or e)
                self.unlisted(folder)
                continue
            below, names = [], {entry.name for entry in found}
            stems = {os.path.splitext(name)[0] for name in names if _has_photos_ending(name)}
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    # Results of an earlier run aren't photos of this one.
                    if self.options.recursive and os.path.realpath(entry.path) != self.results:
                        below.append(entry.path)
                elif not _has_photos_ending(entry.name):
                    continue
                elif (of := _result_of(entry.name)) and (of in stems or of in names):
                    self.own_results += 1
                elif _is_file(entry):
                    yield Source(entry.path, os.path.relpath(entry.path, root))
            stack.extend(reversed(below))

    def _listed(self, path: str) -> Iterator[str]:
        separator = b"\0" if self.options.null else b"\n"
        if address_of(path):
            yield from self._entries(
                self._after_mark(read(path, signed=not self.options.no_sign)).split(separator)
            )
            return
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


def _is_photo(name: str) -> bool:
    return _has_photos_ending(name) and not base_name(name).startswith(".")


def _has_photos_ending(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in READ


def _result_of(name: str) -> str:
    """Return the stem (or name) of the photo whose result a file seems to be, if any."""
    stem, label = os.path.splitext(os.path.splitext(name)[0])
    return stem if label in (".cutout", ".mask") else ""


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
    """Return whether a folder's entry is a file, or a link to one; say so if it isn't."""
    with contextlib.suppress(OSError):  # a link that leads to itself
        if entry.is_file():
            return True
    kind = "a link that leads nowhere" if entry.is_symlink() else "no file"
    logger.warning("%s: is left out, for it is %s", printable(entry.path), kind)
    return False
