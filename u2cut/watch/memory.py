"""The state of a watcher, from its journal, so that a restart repeats nothing."""

from datetime import datetime
from pathlib import Path

from u2cut.batch.journal import BEGUN, Line, is_header, lines
from u2cut.watch.folder import Version


class Memory:
    """The versions of photos that are done with, and the photo of each output.

    Args:
        journal: What earlier watchers wrote; may be missing.

    Raises:
        InputError: It is no journal, or can't be read.
    """

    def __init__(self, journal: Path) -> None:
        self._done: dict[str, tuple[int, int]] = {}
        self._failed: set[str] = set()
        self._owner: dict[str, str] = {}  # of an output: its photo
        if journal.exists() and journal.stat().st_size:
            begun: dict[str, tuple[Line, float]] = {}
            for line in lines(journal):
                self._read(line, begun)
            for line, at in begun.values():
                self._recover(line, at)

    def _read(self, line: Line, begun: dict[str, tuple[Line, float]]) -> None:
        if is_header(line):
            return
        jobs = line.get(BEGUN)
        if isinstance(jobs, list):
            at = datetime.fromisoformat(str(line.get("time"))).timestamp()
            for job in jobs:
                begun[str(job["photo"])] = (job, at)
                self._owner[str(job["output"])] = str(job["photo"])
            return
        name = line.get("photo")
        if isinstance(name, str):
            begun.pop(name, None)
            self._note(name, _lasting(line), failed=line.get("status") == "failed")

    def _recover(self, line: Line, at: float) -> None:
        """Call a photo done whose output was written before the watcher could say so."""
        try:
            written = Path(str(line["output"])).stat().st_mtime
        except OSError:
            return
        if written >= at - 0.002:  # the journal's time has milliseconds
            self._note(str(line["photo"]), _lasting(line), failed=False)

    def _note(self, name: str, lasting: tuple[int, int], *, failed: bool) -> None:
        self._done[name] = lasting
        (self._failed.add if failed else self._failed.discard)(name)

    def is_done(self, name: str, version: Version) -> bool:
        """Return whether this version of a photo is done with, well or not."""
        return self._done.get(name) == version.lasting

    def has_failed(self, name: str) -> bool:
        """Return whether what is done with is a failure."""
        return name in self._failed

    def owner(self, output: str) -> str | None:
        """Return the photo whose result an output is, if a watcher made it."""
        return self._owner.get(output)

    def begin(self, name: str, output: str) -> None:
        """Remember whose result an output will be."""
        self._owner[output] = name

    def finish(self, name: str, version: Version, *, failed: bool) -> None:
        """Remember that a version of a photo is done with."""
        self._note(name, version.lasting, failed=failed)


def _lasting(line: Line) -> tuple[int, int]:
    size, time = line.get("size"), line.get("mtime_ns")
    return (size if isinstance(size, int) else -1, time if isinstance(time, int) else -1)
