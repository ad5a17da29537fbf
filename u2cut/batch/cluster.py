"""A job on a Ray cluster: Ray places the workers, the shards are the same as anywhere.

Ray Core alone: its data layer recomputes much more after a lost node, and never ends on a photo
that kills its process (docs/scale.md). Nothing is kept here that the job's files don't say.
"""

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, Final

from u2cut.batch.job import Description, JobFolder
from u2cut.batch.journal import Line
from u2cut.batch.work import Worker, do_shard, refuse_other
from u2cut.errors import DeviceError, MissingDependencyError, U2cutError, error_of
from u2cut.options import RunOptions

_MOST_LOSSES: Final = 5  # of the workers of one shard, and it isn't the nodes


class _Hand:
    """An actor: a worker somewhere in the cluster."""

    def __init__(self, place: str, description: dict[str, Any], run: dict[str, Any]) -> None:
        self._job, self._description = JobFolder(place), Description(**description)
        self._worker = Worker(self._description, RunOptions(**run))
        self._checked = False

    def ready(self) -> bool:
        """Answer, once it has been placed."""
        return True

    def do(self, number: int) -> "list[Line] | tuple[int, str]":
        """Do a shard; return its records, or the exit code and text of what stops the work."""
        try:
            if not self._checked:
                refuse_other(self._job, self._description)
                self._checked = True
            return do_shard(self._job, number, self._worker, self._description)
        except U2cutError as e:
            return int(e.exit_code), str(e)


def work_on_ray(
    job: JobFolder,
    numbers: range,
    options: RunOptions,
    *,
    address: str | None,
    workers: int | None,
    gpus: float,
    report: Callable[[], None] = lambda: None,
) -> Iterator[list[Line]]:
    """Do shards of a job on a cluster, those that aren't done; yield each one's records.

    A worker whose node is lost costs what it did since it wrote down its shard's journal last.

    Args:
        job: Its folder, which every node can reach.
        numbers: The shards.
        options: Threads of each worker, its CPUs; and how loud.
        address: Of the cluster, as ``ray.init`` takes it; None starts one on this machine.
        workers: How many; by default as many as the cluster has room for.
        gpus: Of each worker.
        report: Called for each shard that is done, or was already.

    Raises:
        MissingDependencyError: Ray isn't installed.
        DeviceError: The cluster can't be reached, or has no room for a worker.
        InputError: A node has another u2cut, or other weights.
        U2cutError: The work can't go on.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as e:
        raise MissingDependencyError("--on ray", "ray") from e
    description = job.description()
    left = deque(number for number in numbers if not job.is_done(number))
    for _ in range(len(numbers) - len(left)):
        report()
    if not left:
        return
    try:
        ray.init(address=address, log_to_driver=options.verbose, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as e:
        raise DeviceError(f"no Ray cluster at {address or 'this machine'} ({e})") from e
    try:
        crew = _Crew(ray, job.place, description, options, gpus)
        yield from crew.do(left, min(len(left), workers or crew.room()), report)
    finally:
        ray.shutdown()


class _Crew:
    """The workers, and what each of them does."""

    def __init__(
        self, ray: Any, place: str, description: Description, options: RunOptions, gpus: float
    ) -> None:
        self._ray = ray
        self._cpus, self._gpus = options.jobs or 1, gpus
        # Ray tells a worker by OMP_NUM_THREADS how many cores are its own.
        self._kind = ray.remote(num_cpus=self._cpus, num_gpus=gpus, max_restarts=0)(_Hand)
        run = {"jobs": options.jobs, "quiet": options.quiet, "verbose": options.verbose}
        self._arguments = (place, asdict(description), run)
        self._waiting: dict[Any, tuple[Any, int | None]] = {}  # answer: its worker, its shard

    def room(self) -> int:
        """Return how many workers the cluster has room for.

        Raises:
            DeviceError: None.
        """
        has = self._ray.cluster_resources()
        counts = [has.get("CPU", 0) // self._cpus]
        if self._gpus:
            counts.append(has.get("GPU", 0) // self._gpus)
        if not int(min(counts)):
            raise DeviceError(
                f"the cluster has no room for a worker of {self._cpus} CPUs and {self._gpus:g} GPUs"
            )
        return int(min(counts))

    def _hire(self) -> None:
        worker = self._kind.remote(*self._arguments)
        self._waiting[worker.ready.remote()] = (worker, None)

    def do(
        self, left: deque[int], workers: int, report: Callable[[], None]
    ) -> Iterator[list[Line]]:
        losses: dict[int, int] = {}
        busy = 0
        for _ in range(workers):
            self._hire()
        while left or busy:
            (answer,), _ = self._ray.wait(list(self._waiting), num_returns=1)
            worker, number = self._waiting.pop(answer)
            busy -= number is not None
            try:
                records = self._ray.get(answer)
            except self._ray.exceptions.RayError as e:
                if number is not None:
                    losses[number] = losses.get(number, 0) + 1
                    if losses[number] >= _MOST_LOSSES:
                        raise DeviceError(f"shard {number} lost {_MOST_LOSSES} workers: {e}") from e
                    left.append(number)
                self._hire()
                continue
            if number is not None:
                if isinstance(records, tuple):
                    raise error_of(*records)
                report()
                yield records
            if left:
                number = left.popleft()
                self._waiting[worker.do.remote(number)] = (worker, number)
                busy += 1
