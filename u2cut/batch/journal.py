"""A run's journal: what became of each photo, on disk as soon as it is known.

JSON lines: a header for each run, then a record for each photo. A last line that was cut off by
a kill or a power failure is passed over.
"""

import json
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from u2cut.batch.result import Result
from u2cut.errors import InputError, OutputError, UsageError
from u2cut.files import STD
from u2cut.files.temporary import lock
from u2cut.version import __version__

Line = dict[str, object]
_HEADER = "u2cut"  # the key that only a header has: the version
BEGUN = "begun"  # the key that only a line of ``Journal.begin`` has
_LONGEST_LINE = 1 << 20


class Journal:
    """A journal that a run writes; an existing one is continued.

    Args:
        path: The file.
        photos: How many inputs the run has before it.
        options: How its results look; the header keeps them.

    Raises:
        InputError: The file exists and is no journal.
        OutputError: It can't be written, or another run writes it.
    """

    def __init__(
        self, path: Path, *, photos: int, options: Mapping[str, str] | None = None
    ) -> None:
        self._path, self._options = path, dict(options or {})
        try:
            if path.exists() and path.stat().st_size:
                next(lines(path), None)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as e:
            raise self._unwritable(e) from e
        try:
            self._begin(photos)
        except BaseException:
            os.close(self._fd)
            raise

    def _begin(self, photos: int) -> None:
        if lock(self._fd) is False:
            raise OutputError("another run writes this journal", path=self._path)
        if os.lseek(self._fd, 0, os.SEEK_END):
            os.lseek(self._fd, -1, os.SEEK_END)
            if os.read(self._fd, 1) != b"\n":
                self._write(b"\n")
        self._append(header(str(Path.cwd()), photos=photos, options=self._options))

    def add(self, result: Result, **more: object) -> None:
        """Append one input.

        Args:
            result: What became of it.
            more: What else is to be remembered of it.

        Raises:
            OutputError: It can't be written.
        """
        self._append(result.record() | {"time": _now()} | more)

    def begin(self, jobs: list[Line]) -> None:
        """Append what is begun, so that a later run knows whose the outputs are.

        Raises:
            OutputError: It can't be written.
        """
        self._append({BEGUN: jobs, "time": _now()})

    def _append(self, line: Line) -> None:
        self._write(json.dumps(line).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as e:
            raise self._unwritable(e) from e

    def _unwritable(self, e: OSError) -> OutputError:
        return OutputError.from_os(e, self._path, "the journal can't be written")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        os.close(self._fd)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def header(folder: str, *, photos: int, options: Mapping[str, str]) -> Line:
    """Return the line that begins a run.

    Args:
        folder: The folder that relative names start from.
        photos: How many inputs the run has before it.
        options: How its results look.
    """
    first: Line = {_HEADER: __version__, "time": _now(), "folder": folder}
    return first | {"photos": photos, "options": dict(options)}


def is_header(line: Line) -> bool:
    """Return whether a line begins a run."""
    return _HEADER in line


def lines(path: Path) -> Iterator[Line]:
    """Read a journal's headers and records, in order.

    Raises:
        InputError: It can't be read, or is no journal.
    """
    begun = False
    try:
        with path.open("rb") as file:
            while text := file.readline(_LONGEST_LINE):
                line = _parsed(text)
                if line is None:
                    if not begun:
                        break
                    continue
                if not begun and not is_header(line):
                    break
                begun = True
                yield line
    except OSError as e:
        raise InputError.from_os(e, path, "the journal can't be read") from e
    if not begun:
        raise InputError("isn't a journal of u2cut", path=path)


def _parsed(text: bytes) -> Line | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


class Identities:
    """Tells inputs by (input, output), in 64 bits each: a million of them take no room."""

    def __init__(self, folder: str | None = None) -> None:
        self.folder = str(Path.cwd()) if folder is None else folder

    def __call__(self, source: str, target: str) -> int:
        """Return the identity of an input and its output, as named from the folder."""
        return hash((self._absolute(source), self._absolute(target)))

    def _absolute(self, path: str) -> str:
        return os.path.join(self.folder, path)  # noqa: PTH118  (a million of them)


def refuse_other_options(path: Path, options: Mapping[str, str]) -> None:
    """Make sure that a run which goes on makes its results as the runs before it did.

    Raises:
        InputError: The journal can't be read, or is no journal.
        UsageError: The runs before were told otherwise.
    """
    for line in lines(path):
        before = line.get("options")
        if is_header(line) and isinstance(before, dict) and before != dict(options):
            raise UsageError(
                f"its photos were made with {_in_words(before)}, this run has {_in_words(options)}",
                path=path,
                remedy="say the same options again, or begin another journal",
            )


def _in_words(options: Mapping[str, str]) -> str:
    said = (name if value == "True" else f"{name} {value}" for name, value in options.items())
    return " ".join(said) or "no options"


def finished(path: Path) -> set[int]:
    """Return the identities of the inputs that a journal calls done.

    Raises:
        InputError: It can't be read, or is no journal.
    """
    done: set[int] = set()
    identity = Identities()
    for line in lines(path):
        if is_header(line):
            identity = Identities(str(line.get("folder")))
            continue
        source, target = str(line.get("input")), str(line.get("output"))
        if source == STD or BEGUN in line:
            continue  # who knows what it brings next time
        if line.get("status") == "failed":
            done.discard(identity(source, target))
        else:
            done.add(identity(source, target))
    return done
