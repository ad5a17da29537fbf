"""Shards of a job, done in a process of their own.

A photo can bring down the process that decodes it. That costs one line here: the shard is done
again in halves, until the photo is alone.
"""

import atexit
import contextlib
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
from u2cut.batch.run import open_predictor, run
from u2cut.console import logger
from u2cut.engines.predictor import Predictor, find_weights
from u2cut.errors import Interrupted, U2cutError, error_of, printable
from u2cut.options import RunOptions
from u2cut.weights.notes import hash_file

KEPT_EVERY: Final = 100  # photos, after which what is done of a shard is written down
_STOP: Final = "stop"
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
        """Do photos, and yield what became of each as soon as it is known, in their order.

        Raises:
            U2cutError: It can go on with none of them: no weights, no room on the disk.
        """
        done = 0
        try:
            for line in self._ask(jobs):
                yield line
                done += 1
            return
        except _Died:
            self.close()
        if len(jobs) == 1:
            logger.error("%s: %s", printable(jobs[0].source), _DEADLY)
            yield Result(jobs[0], status="failed", error=RuntimeError(_DEADLY)).record()
            return
        # Somebody else may have killed it: only a photo that was alone is to blame.
        left = jobs[done:]
        half = (len(left) + 1) // 2
        yield from self.records(left[:half])
        yield from self.records(left[half:])

    def stop(self) -> Iterator[Line]:
        """Let it finish the photo that it is at; yield what became of those not yet told of."""
        if self._pipe is None:
            return
        with contextlib.suppress(_Died, U2cutError):
            self._pipe.send(_STOP)
            yield from self._answers(self._pipe)

    def _ask(self, jobs: list[Job]) -> Iterator[Line]:
        if not jobs:
            return
        pipe = self._started()
        try:
            pipe.send(jobs)
        except OSError as e:
            raise _Died from e
        yield from self._answers(pipe)

    def _answers(self, pipe: Connection) -> Iterator[Line]:
        while True:
            try:
                answer: Line | tuple[int, str] | None = pipe.recv()
            except (EOFError, OSError) as e:
                raise _Died from e
            if answer is None:
                return
            if isinstance(answer, tuple):
                raise error_of(*answer)
            yield answer

    def _started(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._pipe, other = context.Pipe()
            self._process = context.Process(
                target=_serve, args=(other, self._description, self._run), daemon=True
            )
            self._process.start()
            other.close()
            # Before multiprocessing's own, which would wait for a process that ignores SIGTERM.
            atexit.register(self.close)
        return self._pipe

    def close(self) -> None:
        """End the process."""
        atexit.unregister(self.close)
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

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides
    console.configure_logging(quiet=run_options.quiet, verbose=run_options.verbose)
    if Path(description.folder).is_dir():  # relative names start there
        os.chdir(description.folder)
    predictor: Predictor | None = None

    def tell(result: Result) -> None:
        pipe.send(result.record())
        if pipe.poll():  # _STOP, or the parent is gone
            raise KeyboardInterrupt

    while True:
        try:
            wanted = pipe.recv()
            if wanted == _STOP:  # came when all was done
                pipe.send(None)
                continue
            options = description.batch_options(run_options)
            predictor = predictor or open_predictor(options)
            with Plan() as jobs:
                for job in wanted:
                    jobs.append(job)
                run(jobs, options, predictor=predictor, report=tell)
            pipe.send(None)
        except Interrupted:
            pass  # the message says why
        except U2cutError as e:
            pipe.send((int(e.exit_code), str(e)))
        except (EOFError, OSError):
            os._exit(0)


def do_shard(job: JobFolder, number: int, worker: Worker, description: Description) -> list[Line]:
    """Do what is left of a shard, and write its journal; return all of its records.

    Told to stop, it finishes the photo that it is at, and writes down what is done.

    Raises:
        U2cutError: The work can't go on.
    """
    jobs = list(job.shard(number))
    records = job.kept(number, jobs)
    try:
        for record in worker.records(jobs[len(records) :]):
            records.append(record)
            if len(records) % KEPT_EVERY == 0 and len(records) < len(jobs):
                job.keep(number, records)
        job.finish(number, records, description)
    except (KeyboardInterrupt, SystemExit):  # Ray exits a worker by the latter
        records += worker.stop()
        job.keep(number, records)
        raise
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
        raise Interrupted("stopped; what is done is kept") from None
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
