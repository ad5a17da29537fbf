"""The photos of a watched folder that have arrived whole."""

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from u2cut.console import logger
from u2cut.errors import printable
from u2cut.imaging.formats import READ

# Names that browsers and copying programs give to what is not there yet.
_RUNNING: Final = (".part", ".crdownload", ".tmp", ".filepart", ".partial", ".download")


class Version(NamedTuple):
    """The version of a file: another one of the same name differs."""

    size: int
    mtime_ns: int
    inode: int

    @property
    def lasting(self) -> tuple[int, int]:
        """Size and time: what survives a restart, and a copy to another disk."""
        return self.size, self.mtime_ns


@dataclass(slots=True)
class _Arriving:
    version: Version
    since: float


class Folder:
    """A watched folder.

    Args:
        root: The folder.
        recursive: Whether folders inside are watched, too.
        leave_out: Folders inside that are not: results, finished and failed photos.
        settle: Seconds for which a file must not have changed.
    """

    def __init__(
        self, root: Path, *, recursive: bool, leave_out: Collection[Path], settle: float
    ) -> None:
        self.root = root
        self._recursive = recursive
        self._leave_out = {os.path.realpath(folder) for folder in leave_out}
        self._settle = settle
        self._arriving: dict[str, _Arriving] = {}

    def look(self, now: float) -> dict[str, Version]:
        """Return the photos that have stood still, by their names relative to the root.

        Args:
            now: Seconds of a clock that only goes forwards.
        """
        there = dict(self._files())
        for name in self._arriving.keys() - there.keys():
            del self._arriving[name]
        settled = {}
        for name, version in there.items():
            known = self._arriving.get(name)
            if known is None or known.version != version:
                self._arriving[name] = known = _Arriving(version, now)
            if now - known.since >= self._settle:
                settled[name] = version
        return settled

    @property
    def count(self) -> int:
        """Number of photos that were there last time, settled or not."""
        return len(self._arriving)

    def _files(self) -> Iterator[tuple[str, Version]]:
        stack = [""]
        while stack:
            inside = stack.pop()
            try:
                with os.scandir(self.root / inside) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as e:  # it may be on its way out, or a share that is away for a while
                where = printable(self.root / inside)
                logger.info("%s: can't be listed (%s)", where, e.strerror or e)
                continue
            for entry in found:
                if entry.name.startswith((".", "~")):
                    continue
                name = os.path.join(inside, entry.name)  # noqa: PTH118  (many, often)
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if self._recursive and os.path.realpath(entry.path) not in self._leave_out:
                            stack.append(name)
                    elif _is_photo(entry.name) and entry.is_file():
                        status = entry.stat()
                        version = Version(status.st_size, status.st_mtime_ns, status.st_ino)
                        yield name, version
                except OSError:  # gone since
                    continue


def _is_photo(name: str) -> bool:
    stem, ending = os.path.splitext(name.lower())  # noqa: PTH122
    return ending in READ and not stem.endswith(_RUNNING)
