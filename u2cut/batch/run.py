"""A run: every job through read, decode, network, matting, encode and write, once.

A photo's error is caught here and nowhere else; it costs that photo only.
"""

import errno
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from u2cut import render, saliency
from u2cut.batch.plan import Job, Plan
from u2cut.batch.result import Result, Summary, timed
from u2cut.batch.stages import Ready, flow, worker_count
from u2cut.console import logger, progress
from u2cut.cutout import Cutout
from u2cut.engines.predictor import Prediction, Predictor
from u2cut.errors import InputError, Interrupted, OutputError, U2cutError, printable
from u2cut.files import STD
from u2cut.files.address import address_of
from u2cut.files.read import name_of, read
from u2cut.files.remote import Existing
from u2cut.files.sink import Sink
from u2cut.imaging.decode import Frame, decode
from u2cut.imaging.formats import Format
from u2cut.options import BatchOptions, Product, RunOptions

# So many results in a row that can't be written, and no other one will be.
_MOST_UNWRITABLE = 10
# Threads beside those for the cores, which wait for what is far away.
_IN_FLIGHT = 8


class _Stages:
    """The first and the last stage of a run, as `flow` wants them."""

    def __init__(self, options: BatchOptions, predictor: Predictor, sink: Sink) -> None:
        self.options = options
        self.predictor = predictor
        self.sink = sink
        self.under_way: dict[int, Result] = {}  # by the job's identity
        self.existing = Existing(options.output.output)
        self.workers = worker_count(options.run.jobs)
        self.cores = threading.Semaphore(self.workers)
        self.backdrop = render.read_backdrop(options.render.cutout.behind)
        self.least_size = None
        if options.render.product is Product.SALIENCY:
            # The photo's own pixels aren't needed again: a smaller JPEG decodes faster.
            enough = saliency.NEAR * predictor.size
            self.least_size = (enough, enough)

    def first(self, job: Job) -> Ready[tuple[Result, Frame | None]]:
        """Read and decode a photo."""
        result = self.under_way[id(job)] = Result(job)
        self.sink.tidy(job.target)
        if self.options.output.skip_existing and job.target != STD and job.target in self.existing:
            result.status = "skipped"
            return Ready((result, None), None)
        with timed(result.stages, "read"):
            data = read(job.source, signed=not self.options.input.no_sign, etag=job.etag)
        with self.cores, timed(result.stages, "decode"):
            frame = decode(
                data, max_pixels=self.options.input.max_pixels, least_size=self.least_size
            )
            network_input = self.predictor.preprocess(frame.for_network)
        result.size = frame.size
        for warning in frame.warnings:
            logger.warning("%s: %s", name_of(job.source), warning)
        return Ready((result, frame), network_input)

    def last(
        self, job: Job, photo: tuple[Result, Frame | None], prediction: Prediction | None
    ) -> Result:
        """Make the result of a photo and write it."""
        result, frame = photo
        if frame is None or prediction is None:
            return result
        result.stages["network"] = prediction.seconds
        with self.cores:
            data = self._data(job, result, frame, prediction)
        with timed(result.stages, "write"):
            self.sink.write(job.target, data)
        return result

    def _data(self, job: Job, result: Result, frame: Frame, prediction: Prediction) -> bytes:
        """Make the file of a photo's result."""
        cutout = Cutout(frame, prediction.fused, self.options.render, self.predictor)
        with timed(result.stages, "matting"):
            pixels: NDArray[np.uint8] = cutout.pixels(self.backdrop)
            result.coverage, result.confidence = cutout.coverage, cutout.confidence
            result.written = (pixels.shape[0], pixels.shape[1])
        if not cutout.has_subject:
            logger.warning("%s: no subject found; the result is empty", name_of(job.source))
        elif not result.coverage:
            logger.warning(
                "%s: nothing is left of the subject (--erode, --threshold, --clean); the result "
                "is empty",
                name_of(job.source),
            )
        output = self.options.output
        with timed(result.stages, "encode"):
            return cutout.encoded(pixels, output.format or job.format or Format.PNG, output)


def open_predictor(options: BatchOptions) -> Predictor:
    """Open what runs the network for these options.

    Raises:
        WeightsError: The weights are not available.
    """
    method = options.render.edge.matting
    return Predictor(options.network, quiet=options.run.quiet, method=method)


def run(
    plan: Plan,
    options: BatchOptions,
    *,
    predictor: Predictor | None = None,
    stdout: BinaryIO | None = None,
    report: Callable[[Result], None] = lambda result: None,
) -> Summary:
    """Cut out every photo of a plan.

    Args:
        plan: The jobs.
        options: What was asked for.
        predictor: What runs the network, if it is there already.
        stdout: The real stdout, for jobs that go there.
        report: Called with each input's result, in input order.

    Raises:
        WeightsError: The weights are not available.
        DeviceError: The device, engine or precision is not available.
        InputError: The background picture can't be read, or too many photos are stuck.
        OutputError: Result after result can't be written, or ``report`` can't report.
        Interrupted: Ctrl-C; what was under way has left nothing behind.
    """
    start = time.perf_counter()
    sink = Sink(overwrite=options.output.overwrite, stdout=stdout)
    summary = Summary()
    unwritable = 0
    try:
        predictor = predictor or open_predictor(options)
        stages = _Stages(options, predictor, sink)
        outcomes = flow(
            plan,
            first=stages.first,
            predictor=stages.predictor,
            last=stages.last,
            workers=stages.workers + (_IN_FLIGHT if _is_remote(plan) else 0),
            limit=_limit(plan, options.run),
            give_up=lambda job: sink.give_up(job.target),
        )
        with progress(len(plan), unit="photo", quiet=options.run.quiet or options.run.json) as bar:
            for job, outcome in outcomes:
                started = stages.under_way.pop(id(job), None)
                result = _result(started or Result(job), outcome, options.run)
                summary.add(result)
                report(result)
                bar.update()
                unwritable = _count_unwritable(result, unwritable)
                left = len(plan) - summary.counts.total()
                if unwritable >= _MOST_UNWRITABLE and left:
                    raise _stopped(result, left, options.run)
    except KeyboardInterrupt:
        raise Interrupted("stopped; finished photos are kept") from None
    finally:
        sink.abandon()
        summary.seconds = time.perf_counter() - start
    return summary


def _is_remote(plan: Plan) -> bool:
    """Tell whether a run reads or writes far away, as far as its first job shows it."""
    job = next(iter(plan), None)
    return job is not None and bool(address_of(job.source) or address_of(job.target))


def _limit(plan: Plan, options: RunOptions) -> float | None:
    """Seconds for each photo; stdin alone may take as long as its writer likes."""
    if len(plan) == 1 and next(iter(plan)).source == STD:
        return None
    return options.timeout


def _result(started: Result, outcome: Result | Exception, options: RunOptions) -> Result:
    """Say what became of a job, and log what went wrong.

    Args:
        started: What is known of it so far: a photo that fails late keeps its size and seconds.
        outcome: The result, or why there is none.
        options: The limit of time.
    """
    if isinstance(outcome, Result):
        return outcome
    error: Exception = outcome
    if isinstance(outcome, MemoryError):
        error = InputError("there isn't enough memory for this photo")
    elif isinstance(outcome, TimeoutError):
        error = InputError(f"took longer than {options.timeout:g} s; --timeout changes that")
    known = isinstance(error, U2cutError)
    text = str(error) if known else f"a bug in u2cut: {type(error).__name__}: {error}"
    if not (isinstance(error, U2cutError) and error.path):  # else it is about its output
        text = f"{name_of(started.job.source)}: {text}"
    logger.error("%s", text, exc_info=None if known else error)
    # A copy: a thread that is stuck may still write into the first one.
    return replace(started, status="failed", error=error, stages=dict(started.stages))


def _count_unwritable(result: Result, before: int) -> int:
    """Count the results in a row that failed because of where they go, not what they are."""
    if result.status == "skipped":
        return before
    cause = None if result.error is None else result.error.__cause__
    if not isinstance(cause, OSError):
        return 0
    if isinstance(cause, ConnectionError):  # a store that answers nobody
        return before + 1
    if isinstance(result.error, OutputError):
        return before + 1 if cause.errno not in (errno.EEXIST, errno.ENAMETOOLONG) else 0
    return before + 1 if cause.errno in (errno.EMFILE, errno.ENFILE) else 0


def _stopped(result: Result, left: int, options: RunOptions) -> OutputError:
    again = "--skip-existing"
    if options.journal is not None:
        again = f"--resume-from {printable(options.journal)}"
    return OutputError(
        f"stopped, for {_MOST_UNWRITABLE} photos in a row failed like the last one "
        f"({result.error}); {left} are left: mend that, and run it again with {again}"
    )
