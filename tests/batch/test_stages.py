import threading
import time
from collections.abc import Generator, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from u2cut.batch.stages import Ready, flow
from u2cut.engines.predictor import Prediction


class Doubler:
    """Stands where the network stands; the flow's own behaviour is what is tested."""

    def __init__(self, batch_size: int = 1, at_once: int = 1) -> None:
        self.batch_size = batch_size
        self.at_once = at_once
        self.batches: list[int] = []

    def predict(self, inputs: Sequence[NDArray[np.float32]]) -> list[Prediction]:
        if inputs:
            self.batches.append(len(inputs))
        if any(float(i[0]) == 13 for i in inputs):
            raise MemoryError("13")
        return [Prediction(2 * i, 0.0) for i in inputs]


def ready(item: int) -> Ready[int]:
    time.sleep(0.0005 * (item % 5))
    if item == 7:
        raise ValueError("7")
    return Ready(item, None if item % 10 == 4 else np.array([item], np.float32))


def finished(item: int, photo: int, prediction: Prediction | None) -> float:
    time.sleep(0.0005 * (item % 3))
    if item == 9:
        raise ValueError("9")
    return float(prediction.fused[0]) if prediction else -1.0


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("at_once", [1, 2])
def test_outcomes_keep_the_order_and_errors_cost_their_item_only(
    batch_size: int, workers: int, at_once: int
) -> None:
    network = Doubler(batch_size, at_once)
    outcomes = dict(flow(range(40), first=ready, predictor=network, last=finished, workers=workers))
    assert list(outcomes) == list(range(40))
    failed = {item for item, outcome in outcomes.items() if isinstance(outcome, Exception)}
    assert {7, 9, 13} <= failed <= {7, 9, *range(12, 16)} - {14}
    for item in set(outcomes) - failed:
        assert outcomes[item] == (-1.0 if item % 10 == 4 else 2.0 * item)
    assert max(network.batches) == batch_size


def test_few_items_are_under_way_however_many_there_are() -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield 100

    running = flow(items(), first=ready, predictor=Doubler(), last=finished, workers=2)
    for taken in range(1, 60):
        next(running)
        assert drawn - taken <= 8
    assert isinstance(running, Generator)
    running.close()


def test_a_batch_is_on_its_way_before_the_last_one_is_back() -> None:
    both = threading.Barrier(2)

    class Slow(Doubler):
        def predict(self, inputs: Sequence[NDArray[np.float32]]) -> list[Prediction]:
            both.wait(10)  # for the other batch
            return super().predict(inputs)

    network = Slow(batch_size=2, at_once=2)
    outcomes = flow(range(100, 108), first=ready, predictor=network, last=finished, workers=2)
    assert [outcome for _, outcome in outcomes] == [
        -1.0 if item % 10 == 4 else 2.0 * item for item in range(100, 108)
    ]


def test_reading_overlaps_with_the_network() -> None:
    reading = threading.Event()

    class Waits(Doubler):
        def predict(self, inputs: Sequence[NDArray[np.float32]]) -> list[Prediction]:
            assert reading.wait(10), "nothing was read while the network ran"
            return super().predict(inputs)

    def read(item: int) -> Ready[int]:
        if item:
            reading.set()
        return Ready(item, np.array([item], np.float32))

    assert len(list(flow(range(3), first=read, predictor=Waits(), last=finished, workers=1))) == 3
