"""A run: every job through read, decode, network, matting, encode and write, once.

A photo's error is caught here and nowhere else; it costs that photo only.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from u2cut import saliency
from u2cut.errors import ExitCode, InputError, Interrupted, OutputError, PartialFailure, U2cutError
from u2cut.imaging.decode import Frame, decode
from u2cut.pipeline.cut import Cutout, backdrop_of
from u2cut.pipeline.flow import Ready, flow, worker_count
from u2cut.pipeline.jobs import STD, Job, Plan
from u2cut.pipeline.options import BatchOptions, Format, Product
from u2cut.pipeline.predictor import Looked, Predictor
from u2cut.pipeline.sink import Sink
from u2cut.stdio import logger, printable, progress

Status = Literal["ok", "skipped", "failed"]


@dataclass(slots=True)
class Result:
    """What became of one input.

    Attributes:
        job: The input and its output.
        status: "ok", "skipped" (the output existed) or "failed".
        error: Why it failed.
        size: (height, width) of the photo, upright.
        coverage: Share of the photo that the subject covers, in [0, 1].
        stages: Seconds in each stage.
    """

    job: Job
    status: Status = "ok"
    error: Exception | None = None
    size: tuple[int, int] | None = None
    coverage: float | None = None
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time spent on this input, in all stages."""
        return sum(self.stages.values())

    def record(self) -> dict[str, object]:
        """Return the line of ``--json``."""
        height, width = self.size or (None, None)
        return {
            "input": self.job.source,
            "output": self.job.target,
            "status": self.status,
            "error": None if self.error is None else str(self.error),
            "width": width,
            "height": height,
            "coverage": None if self.coverage is None else round(self.coverage, 6),
            "seconds": round(self.seconds, 4),
        }


@dataclass(slots=True)
class Summary:
    """What became of a run.

    Attributes:
        counts: Inputs by status.
        last_error: Of the failed ones.
        crashed: Whether an error was a bug.
        seconds: The whole run's.
        stages: Seconds in each stage, over all inputs.
    """

    counts: Counter[str] = field(default_factory=Counter)
    last_error: Exception | None = None
    crashed: bool = False
    seconds: float = 0.0
    stages: Counter[str] = field(default_factory=Counter)

    def add(self, result: Result) -> None:
        """Count one input."""
        self.counts[result.status] += 1
        self.stages.update(result.stages)
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

    def __str__(self) -> str:
        rate = self.counts["ok"] / self.seconds if self.seconds else 0.0
        whole = sum(self.stages.values()) or 1.0
        shares = ", ".join(f"{name} {s / whole:.0%}" for name, s in self.stages.most_common())
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items() if n)
        return f"{counts or 'nothing done'} in {self.seconds:.1f} s ({rate:.2f} photos/s; {shares})"


@contextmanager
def _timed(stages: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        stages[name] = stages.get(name, 0.0) + time.perf_counter() - start


class _Stages:
    """The first and the last stage of a run, as `flow` wants them."""

    def __init__(self, options: BatchOptions, predictor: Predictor, sink: Sink) -> None:
        self.options = options
        self.predictor = predictor
        self.sink = sink
        self.backdrop = backdrop_of(options.render)
        self.least_size = None
        if options.render.product is Product.SALIENCY:
            # The photo's own pixels aren't looked at again: a smaller JPEG decodes faster.
            enough = saliency.NEAR * predictor.size
            self.least_size = (enough, enough)

    def first(self, job: Job) -> Ready[tuple[Result, Frame | None]]:
        """Read and decode a photo."""
        result = Result(job)
        if self.options.output.skip_existing and job.target != STD and Path(job.target).exists():
            result.status = "skipped"
            return Ready((result, None), None)
        with _timed(result.stages, "read"):
            data = read(job)
        with _timed(result.stages, "decode"):
            frame = decode(
                data, max_pixels=self.options.input.max_pixels, least_size=self.least_size
            )
            network_input = self.predictor.prepare(frame.image)
        result.size = frame.size
        for warning in frame.warnings:
            logger.warning("%s: %s", name_of(job), warning)
        return Ready((result, frame), network_input)

    def last(self, job: Job, photo: tuple[Result, Frame | None], looked: Looked | None) -> Result:
        """Make the result of a photo and write it."""
        result, frame = photo
        if frame is None or looked is None:
            return result
        result.stages["network"] = looked.seconds
        cutout = Cutout(frame, looked.fused, self.options.render, self.predictor.fused_map)
        with _timed(result.stages, "matting"):
            pixels: NDArray[np.uint8] = cutout.pixels(self.backdrop)
            result.coverage = cutout.coverage
        if not cutout.has_subject:
            logger.warning("%s: no subject found; the result is empty", name_of(job))
        output = self.options.output
        with _timed(result.stages, "encode"):
            data = cutout.encoded(
                pixels,
                output.format or job.format or Format.PNG,
                quality=output.quality,
                compression=output.compression,
            )
        with _timed(result.stages, "write"):
            self.sink.write(job, data)
        return result


def read(job: Job) -> bytes:
    """Read an input's bytes.

    Raises:
        InputError: It can't be read.
    """
    try:
        data = sys.stdin.buffer.read() if job.source == STD else Path(job.source).read_bytes()
    except OSError as e:
        raise InputError(f"can't be read ({e.strerror or e})") from e
    except ValueError as e:  # a NUL in the name
        raise InputError(f"can't be read ({e})") from e
    if not data:
        raise InputError("is empty" if job.source != STD else "brought nothing")
    return data


def name_of(job: Job) -> str:
    """Return an input's name as messages show it."""
    return "stdin" if job.source == STD else printable(job.source)


def run(
    plan: Plan,
    options: BatchOptions,
    *,
    stdout: BinaryIO | None = None,
    report: Callable[[Result], None] = lambda result: None,
) -> Summary:
    """Cut out every photo of a plan.

    Args:
        plan: The jobs.
        options: What was asked for.
        stdout: The real stdout, for jobs that go there.
        report: Called with each input's result, in input order.

    Raises:
        WeightsError: The weights can't be had.
        DeviceError: The device, engine or precision can't be had.
        InputError: The background picture can't be read.
        Interrupted: Ctrl-C; what was under way has left nothing behind.
    """
    start = time.perf_counter()
    sink = Sink(overwrite=options.output.overwrite, stdout=stdout)
    summary = Summary()
    try:
        stages = _Stages(options, Predictor(options.network, quiet=options.run.quiet), sink)
        outcomes = flow(
            plan,
            first=stages.first,
            predictor=stages.predictor,
            last=stages.last,
            workers=worker_count(options.run.jobs),
        )
        with progress(len(plan), unit="photo", quiet=options.run.quiet or options.run.json) as bar:
            for job, outcome in outcomes:
                result = _result(job, outcome)
                summary.add(result)
                report(result)
                bar.update()
    except KeyboardInterrupt:
        sink.abandon()
        raise Interrupted("stopped; finished photos are kept") from None
    finally:
        summary.seconds = time.perf_counter() - start
    return summary


def _result(job: Job, outcome: Result | Exception) -> Result:
    """Say what became of a job, and log what went wrong."""
    if isinstance(outcome, Result):
        return outcome
    error = outcome
    if isinstance(outcome, MemoryError):
        error = InputError("there isn't enough memory for this photo")
    known = isinstance(error, U2cutError)
    text = str(error) if known else f"a bug in u2cut: {type(error).__name__}: {error}"
    if not isinstance(error, OutputError):
        text = f"{name_of(job)}: {text}"
    logger.error("%s", text, exc_info=None if known else error)
    return Result(job, status="failed", error=error)
