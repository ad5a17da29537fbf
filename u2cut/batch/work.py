"""Shards of a job, done in a process of their own.

A photo can bring down the process that decodes it. That costs one line here: the shard is done
again in halves, until the photo is alone.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from u2cut.batch.job import Description, JobFolder, refuse_other_version
from u2cut.batch.journal import Line
from u2cut.batch.plan import Job, Plan
from u2cut.batch.result import Result
from u2cut.batch.run import run
from u2cut.console import logger
from u2cut.engines.predictor import Predictor, find_weights
from u2cut.errors import Interrupted, U2cutError, error_of, printable
from u2cut.options import RunOptions
from u2cut.weights.notes import hash_file

KEPT_EVERY: Final = 100  # photos, after which what is done of a shard is written down
_LAST_WAIT: Final = 10.0  # seconds for the process to end
_DEADLY: Final = "the process that reads it is killed by it, or runs out of memory"


class _Died(Exception):
    """The process has ended before it answered."""


class Worker:
    """A process that holds the network and does photos of a job.

    Args:
        description: The job's.
        run: How many threads, and how loud.
    """

    def __init__(self, description: Description, run: RunOptions) -> None:
        self._description, self._run = description, run
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def records(self, jobs: list[Job]) -> Iterator[Line]:
        """Do photos, and yield what became of each, in their order.

        Raises:
            U2cutError: It can go on with none of them: no weights, no room on the disk.
        """
        if not jobs:
            return
        try:
            yield from self._ask(jobs)
            return
        except _Died:
            self.close()
        if len(jobs) == 1:
            logger.error("%s: %s", printable(jobs[0].source), _DEADLY)
            yield Result(jobs[0], status="failed", error=RuntimeError(_DEADLY)).record()
            return
        half = len(jobs) // 2
        yield from self.records(jobs[:half])
        yield from self.records(jobs[half:])

    def _ask(self, jobs: list[Job]) -> list[Line]:
        pipe = self._started()
        try:
            pipe.send([(job.source, job.target) for job in jobs])
            answer: list[Line] | tuple[int, str] = pipe.recv()
        except (EOFError, OSError) as e:
            raise _Died from e
        if isinstance(answer, tuple):
            raise error_of(*answer)
        return answer

    def _started(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(other, self._description, self._run), daemon=True
            )
            self._process.start()
            other.close()
        return self._pipe

    def close(self) -> None:
        """End the process."""
        if self._pipe is not None and self._process is not None:
            self._pipe.close()
            self._process.join(_LAST_WAIT)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
        self._pipe = self._process = None


def _serve(pipe: Connection, description: Description, run_options: RunOptions) -> None:
    """Do what comes through the pipe until it is closed; the process' main function."""
    from u2cut import console

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    console.configure_logging(quiet=run_options.quiet, verbose=run_options.verbose)
    if Path(description.folder).is_dir():  # relative names start there
        os.chdir(description.folder)
    predictor: Predictor | None = None
    while True:
        try:
            wanted = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            options = description.batch_options(run_options)
            predictor = predictor or Predictor(options.network, quiet=True)
            records: list[Line] = []
            with Plan() as jobs:
                for source, target in wanted:
                    jobs.append(Job(source, target))
                run(
                    jobs,
                    options,
                    predictor=predictor,
                    report=lambda result, records=records: records.append(result.record()),  # type: ignore[misc]
                )
            pipe.send(records)
        except U2cutError as e:
            pipe.send((int(e.exit_code), str(e)))


def do_shard(job: JobFolder, number: int, worker: Worker, description: Description) -> list[Line]:
    """Do what is left of a shard, and write its journal; return all of its records.

    Raises:
        U2cutError: The work can't go on.
    """
    jobs = list(job.shard(number))
    records = job.kept(number, jobs)
    for first in range(len(records), len(jobs), KEPT_EVERY):
        records += worker.records(jobs[first : first + KEPT_EVERY])
        if len(records) < len(jobs):
            job.keep(number, records)
    job.finish(number, records, description)
    return records


def work(
    job: JobFolder,
    numbers: range,
    options: RunOptions,
    *,
    report: Callable[[], None] = lambda: None,
) -> Iterator[list[Line]]:
    """Do shards of a job, those that aren't done; yield each one's records once it is.

    Args:
        job: Its folder.
        numbers: The shards.
        options: Threads, and how loud.
        report: Called for each shard that is done, or was already.

    Raises:
        InputError: The job can't be read, or was made by another u2cut or for other weights.
        U2cutError: The work can't go on.
    """
    description = job.description()
    refuse_other(job, description)
    worker = Worker(description, options)
    try:
        for number in numbers:
            if not job.is_done(number):
                yield do_shard(job, number, worker, description)
            report()
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped; what is done is kept, but for the last hundred photos"
        ) from None
    finally:
        worker.close()


def refuse_other(job: JobFolder, description: Description) -> None:
    """Make sure that this machine's u2cut and weights are the job's.

    Raises:
        InputError: They are others.
        WeightsError: There are none.
    """
    refuse_other_version(job, description, hash_of(description))


def hash_of(description: Description) -> str:
    """Return the SHA-256 of the weights that this machine has for a job.

    Raises:
        WeightsError: It has none.
    """
    return hash_file(find_weights(description.batch_options().network).path)
