"""A journal summed up: what is done, what failed and why, what is left."""

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from u2cut.batch.job import JobFolder
from u2cut.batch.journal import BEGUN, Identities, Line, is_header, lines
from u2cut.batch.result import DOUBTFUL
from u2cut.errors import printable

# More reasons than these can't be read anyway, and their texts take room.
_MOST_REASONS = 1000


@dataclass(slots=True)
class Reason:
    """A reason for which inputs failed.

    Attributes:
        error: The error of one of them, without its name.
        count: How many.
        example: Name of one of them.
    """

    error: str
    count: int
    example: str


@dataclass(slots=True)
class JournalSummary:
    """The sum of a journal; of an input that was tried again, only the last try counts.

    Attributes:
        runs: How many runs wrote it.
        started: Time of the first line, ISO 8601.
        ended: Time of the last line.
        seconds: How long the runs took, without what lay between them.
        ok: Inputs with a new output.
        doubtful: Those of them whose outline is probably wrong.
        skipped: Inputs whose output existed before.
        failed: Inputs without an output.
        left: Inputs that the last run had before it and did not come to.
        photos_per_second: New outputs in the runs' time.
        reasons: Why inputs failed, the most frequent first.
    """

    runs: int = 0
    started: str = ""
    ended: str = ""
    seconds: float = 0.0
    ok: int = 0
    doubtful: int = 0
    skipped: int = 0
    failed: int = 0
    left: int = 0
    photos_per_second: float = 0.0
    reasons: list[Reason] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return it for JSON."""
        return asdict(self)


def summarise_journal(path: Path) -> JournalSummary:
    """Sum up a journal.

    Raises:
        InputError: It can't be read, or is no journal.
    """
    counter = _Counter()
    for line in lines(path):
        counter.add(line)
    return counter.result()


def summarise_job(job: JobFolder) -> JournalSummary:
    """Sum up the journals of a job's shards.

    Raises:
        InputError: It can't be read, or is no job.
    """
    description = job.description()
    counter = _Counter()
    for number in range(description.shards):
        if job.is_done(number):
            for line in job.journal(number):
                counter.add(line)
    found = counter.result()
    found.left = description.photos - found.ok - found.skipped - found.failed
    return found


class _Counter:
    def __init__(self) -> None:
        self.total = JournalSummary()
        self.identity = Identities()
        self.fates: dict[
            int, int
        ] = {}  # an input's identity: _OK, _DOUBTFUL, _SKIPPED or a reason's place
        self.reasons: list[Reason] = []
        self.places: dict[str, int] = {}
        self.begun = ""
        self.made = 0

    def add(self, line: Line) -> None:
        time = str(line.get("time", ""))
        self.total.started = self.total.started or time
        if is_header(line):
            self._end_run()
            self.total.runs += 1
            self.begun = time
            self.identity = Identities(str(line.get("folder")))
            photos = line.get("photos")
            self.total.left = photos if isinstance(photos, int) else 0
        elif BEGUN not in line:
            self.total.left = max(0, self.total.left - 1)
            self._add_record(line)
        self.total.ended = time or self.total.ended

    def _add_record(self, line: Line) -> None:
        key = self.identity(str(line.get("input")), str(line.get("output")))
        if line.get("status") == "ok":
            self.made += 1
            sure = line.get("confidence")
            doubtful = isinstance(sure, int | float) and sure < DOUBTFUL
            self.fates[key] = _DOUBTFUL if doubtful else _OK
        elif line.get("status") == "skipped":
            if self.fates.get(key) not in (_OK, _DOUBTFUL):
                self.fates[key] = _SKIPPED
        else:
            self.fates[key] = self._place(line)

    def _place(self, line: Line) -> int:
        """Return the place of a failure's reason; errors that differ in numbers only share one."""
        error = _without_names(line)
        alike = re.sub(r"\d[\d,.]*", "0", error)
        if alike not in self.places and len(self.places) >= _MOST_REASONS:
            error = alike = "other reasons"
        if alike not in self.places:
            self.places[alike] = len(self.reasons)
            self.reasons.append(Reason(error, 0, str(line.get("input"))))
        return self.places[alike]

    def _end_run(self) -> None:
        if self.begun and self.total.ended:
            spent = datetime.fromisoformat(self.total.ended) - datetime.fromisoformat(self.begun)
            self.total.seconds += max(0.0, spent.total_seconds())

    def result(self) -> JournalSummary:
        self._end_run()
        total = self.total
        counts = Counter(self.fates.values())
        total.doubtful = counts.pop(_DOUBTFUL, 0)
        total.ok = counts.pop(_OK, 0) + total.doubtful
        total.skipped = counts.pop(_SKIPPED, 0)
        total.failed = counts.total()
        for place, count in counts.items():
            self.reasons[place].count = count
        total.reasons = sorted((r for r in self.reasons if r.count), key=lambda r: -r.count)
        total.seconds = round(total.seconds, 3)
        if total.seconds:
            total.photos_per_second = round(self.made / total.seconds, 3)
        return total


_OK, _SKIPPED, _DOUBTFUL = -1, -2, -3


def _without_names(line: Line) -> str:
    """Return a record's error without the names of its own files."""
    error = str(line.get("error"))
    for name in (line.get("output"), line.get("input")):
        if name:
            error = error.replace(f"{printable(name)}: ", "").replace(printable(name), "it")
    return error
