"""Bounded stages: some photos are read while one is in the network and others are finished."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from u2cut.batch.workers import Workers
from u2cut.cores import available_cores
from u2cut.engines.predictor import Prediction, Predictor

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
    return jobs or min(available_cores(), 8)


def flow(
    items: Iterable[T],
    *,
    first: Callable[[T], Ready[P]],
    predictor: Predictor,
    last: Callable[[T, P, Prediction | None], R],
    workers: int,
    limit: float | None = None,
    give_up: Callable[[T], None] = lambda item: None,
) -> Iterator[tuple[T, R | Exception]]:
    """Run each item through ``first``, the network and ``last``; yield in the items' order.

    ``first`` and ``last`` run in worker threads, the network in the caller's; a GPU's in two of
    its own, so that it computes one batch while the next is copied to it. A bounded number of
    items is under way at any time, however many there are. What a stage raises becomes its item's
    outcome.

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
    looking: deque[_Batch[T, P]] = deque()
    finishing: deque[tuple[T, Future[R]]] = deque()
    pool = Workers(workers, limit=limit)

    def start(item: T) -> Future[Ready[P]]:
        return pool.submit(partial(first, item), give_up=partial(give_up, item))

    def finish(item: T, photo: P, prediction: Prediction | None) -> Future[R]:
        return pool.submit(partial(last, item, photo, prediction), give_up=partial(give_up, item))

    network: Executor = _Inline()
    try:
        reading.extend((item, start(item)) for item in islice(queue, _HEAD_START))
        batch_size = predictor.batch_size  # known once the engine is ready
        if predictor.at_once > 1:
            network = ThreadPoolExecutor(predictor.at_once, "u2cut network")
        while True:
            for item in islice(queue, max(0, 2 * batch_size + 1 - len(reading))):
                reading.append((item, start(item)))
            if reading:
                batch = [reading.popleft() for _ in range(min(batch_size, len(reading)))]
                looking.append(_predict_batch(batch, predictor, pool, network))
            elif not looking:
                break
            while looking and (
                not reading or looking[0].prediction.done() or len(looking) >= predictor.at_once
            ):
                finishing.extend(_finish(looking.popleft(), finish))
            while finishing and (finishing[0][1].done() or len(finishing) > workers + batch_size):
                item, done = finishing.popleft()
                outcome = pool.settle(done)
                yield item, outcome
        while finishing:
            item, done = finishing.popleft()
            outcome = pool.settle(done)
            yield item, outcome
    finally:
        network.shutdown(wait=False, cancel_futures=True)
        pool.close()


class _Inline(Executor):
    """Does what it is given at once, in the caller's thread."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as e:
            future.set_exception(e)
        return future


@dataclass(frozen=True, slots=True)
class _Batch(Generic[T, P]):
    """Photos that have been read, on their way through the network."""

    read: list[tuple[T, Ready[P] | Exception]]
    prediction: Future[list[Prediction]]


def _predict_batch(
    batch: list[tuple[T, Future[Ready[P]]]], predictor: Predictor, pool: Workers, network: Executor
) -> _Batch[T, P]:
    """Send what could be read of a batch through the network."""
    read = []
    for item, future in batch:
        ready = pool.settle(future)
        read.append((item, ready))
    inputs = [
        r.network_input for _, r in read if isinstance(r, Ready) and r.network_input is not None
    ]
    return _Batch(read, network.submit(predictor.predict, inputs))


def _finish(
    batch: _Batch[T, P], finish: Callable[[T, P, Prediction | None], Future[R]]
) -> Iterator[tuple[T, Future[R]]]:
    """Hand each photo of a batch on to ``finish``, as soon as the network has seen it."""
    error = batch.prediction.exception()
    prediction = iter(() if error else batch.prediction.result())
    for item, ready in batch.read:
        if isinstance(ready, Exception):
            yield item, _failed(ready)
        elif ready.network_input is None:
            yield item, finish(item, ready.photo, None)
        elif error is not None:
            yield item, _failed(error)
        else:
            yield item, finish(item, ready.photo, next(prediction))


def _failed(error: BaseException) -> Future[R]:
    future: Future[R] = Future()
    future.set_exception(error)
    return future
