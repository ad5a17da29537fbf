"""Bounded stages: some photos are read while one is in the network and others are finished."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from u2cut.pipeline.predictor import Looked, Predictor
from u2cut.pipeline.workers import Workers

_HEAD_START = 2  # photos that are read while the engine is made ready

T = TypeVar("T")
P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Ready(Generic[P]):
    """A photo that has been read.

    Attributes:
        photo: Whatever the last stage needs.
        network_input: (3, S, S) float32, or None for a photo that needs no network.
    """

    photo: P
    network_input: NDArray[np.float32] | None


def worker_count(jobs: int | None) -> int:
    """Threads to use when ``jobs`` were asked for: else one a core, up to 8."""
    return jobs or min(os.cpu_count() or 1, 8)


def flow(
    items: Iterable[T],
    *,
    first: Callable[[T], Ready[P]],
    predictor: Predictor,
    last: Callable[[T, P, Looked | None], R],
    workers: int,
    limit: float | None = None,
    give_up: Callable[[T], None] = lambda item: None,
) -> Iterator[tuple[T, R | Exception]]:
    """Run each item through ``first``, the network and ``last``; yield in the items' order.

    ``first`` and ``last`` run in worker threads, the network in the caller's. A bounded number
    of items is under way at any time, however many there are. What a stage raises becomes its
    item's outcome.

    Args:
        items: Drawn from lazily.
        first: Reads an item.
        predictor: The network.
        last: Finishes an item; its third argument is None for a photo without network input.
        workers: Threads beside the caller's.
        limit: Seconds that ``first`` may take, and ``last``; an item's outcome is then a
            ``TimeoutError``, and the others go on.
        give_up: Called with such an item before it is declared failed, from the caller's thread.
    """
    queue = iter(items)
    reading: deque[tuple[T, Future[Ready[P]]]] = deque()
    finishing: deque[tuple[T, Future[R]]] = deque()
    pool = Workers(workers, limit=limit)

    def start(item: T) -> Future[Ready[P]]:
        return pool.submit(partial(first, item), give_up=partial(give_up, item))

    def finish(item: T, photo: P, looked: Looked | None) -> Future[R]:
        return pool.submit(partial(last, item, photo, looked), give_up=partial(give_up, item))

    try:
        reading.extend((item, start(item)) for item in islice(queue, _HEAD_START))
        batch_size = predictor.batch_size  # known once the engine is ready
        while True:
            for item in islice(queue, max(0, 2 * batch_size + 1 - len(reading))):
                reading.append((item, start(item)))
            if not reading:
                break
            batch = [reading.popleft() for _ in range(min(batch_size, len(reading)))]
            finishing.extend(_look(batch, predictor, pool, finish))
            while finishing and (finishing[0][1].done() or len(finishing) > workers + batch_size):
                item, done = finishing.popleft()
                outcome = pool.settle(done)
                yield item, outcome
        while finishing:
            item, done = finishing.popleft()
            outcome = pool.settle(done)
            yield item, outcome
    finally:
        pool.close()


def _look(
    batch: list[tuple[T, Future[Ready[P]]]],
    predictor: Predictor,
    pool: Workers,
    finish: Callable[[T, P, Looked | None], Future[R]],
) -> Iterator[tuple[T, Future[R]]]:
    """Run one batch through the network and hand each photo on to ``finish``."""
    read = []
    for _, future in batch:
        ready = pool.settle(future)
        read.append(ready)
    inputs = [r.network_input for r in read if isinstance(r, Ready) and r.network_input is not None]
    try:
        looked: Iterator[Looked | Exception] = iter(predictor.look_at(inputs))
    except Exception as e:
        looked = iter([e] * len(inputs))
    for (item, _), ready in zip(batch, read, strict=True):
        if isinstance(ready, Exception):
            yield item, _failed(ready)
            continue
        seen = next(looked) if ready.network_input is not None else None
        if isinstance(seen, Exception):
            yield item, _failed(seen)
        else:
            yield item, finish(item, ready.photo, seen)


def _failed(error: Exception) -> Future[R]:
    future: Future[R] = Future()
    future.set_exception(error)
    return future
