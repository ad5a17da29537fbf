"""The result of each input, and of the whole run."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from u2cut.batch.plan import Job
from u2cut.errors import ExitCode, PartialFailure, U2cutError

DOUBTFUL: Final = 0.7  # confidence below which a result is worth a look

Status = Literal["ok", "skipped", "failed"]


@contextmanager
def timed(stages: dict[str, float], name: str) -> Iterator[None]:
    """Add the seconds that the block takes to a stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        stages[name] = stages.get(name, 0.0) + time.perf_counter() - start


@dataclass(slots=True)
class Result:
    """The result of one input.

    Attributes:
        job: The input and its output.
        status: "ok", "skipped" (the output existed) or "failed".
        error: Why it failed.
        size: (height, width) of the photo, upright.
        coverage: Share of the photo that the subject covers, in [0, 1].
        confidence: How good its outline probably is, in [0, 1]; 0 without a subject.
        written: (height, width) of the output.
        stages: Seconds in each stage.
    """

    job: Job
    status: Status = "ok"
    error: Exception | None = None
    size: tuple[int, int] | None = None
    coverage: float | None = None
    confidence: float | None = None
    written: tuple[int, int] | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time spent on this input, in all stages."""
        return sum(self.stages.values())

    def record(self) -> dict[str, object]:
        """Return the line of ``--json``."""
        height, width = self.size or (None, None)
        output_height, output_width = self.written or (None, None)
        return {
            "input": self.job.source,
            "output": self.job.target,
            "status": self.status,
            "error": None if self.error is None else str(self.error),
            "width": width,
            "height": height,
            "output_width": output_width,
            "output_height": output_height,
            "coverage": None if self.coverage is None else round(self.coverage, 6),
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "seconds": round(self.seconds, 4),
        }


@dataclass(slots=True)
class Summary:
    """The result of a run.

    Attributes:
        counts: Inputs by status.
        doubtful: Results with a confidence below ``DOUBTFUL``.
        last_error: Of the failed ones.
        crashed: Whether an error was a bug.
        seconds: The whole run's.
        stages: Seconds in each stage, over all inputs.
    """

    counts: Counter[str] = field(default_factory=Counter)
    doubtful: int = 0
    last_error: Exception | None = None
    crashed: bool = False
    seconds: float = 0.0
    stages: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one input."""
        self.counts[result.status] += 1
        self.stages.update(result.stages)
        self.doubtful += result.confidence is not None and result.confidence < DOUBTFUL
        if result.error is not None:
            self.last_error = result.error
            self.crashed |= not isinstance(result.error, U2cutError)

    @property
    def exit_code(self) -> ExitCode:
        """A single input's own code; ``PARTIAL`` when one of several failed."""
        if self.crashed:
            return ExitCode.BUG
        if self.last_error is None:
            return ExitCode.OK
        if self.counts.total() > 1:
            return PartialFailure.exit_code
        return getattr(self.last_error, "exit_code", ExitCode.BUG)

    def counted(self) -> str:
        """Return how many inputs came to what: ``198 ok, 2 failed``."""
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items() if n)
        return counts or "nothing done"

    def doubts(self) -> str:
        """Return how many results are worth a look, as the end of a line."""
        return f"; {self.doubtful} look doubtful" if self.doubtful else ""

    def __str__(self) -> str:
        rate = self.counts["ok"] / self.seconds if self.seconds else 0.0
        whole = sum(self.stages.values()) or 1.0
        shares = ", ".join(f"{name} {s / whole:.0%}" for name, s in self.stages.most_common())
        time = f"{self.seconds:.1f} s ({rate:.2f} photos/s; {shares})"
        return f"{self.counted()} in {time}{self.doubts()}"
