from collections import Counter
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from u2cut.training.config import TrainConfig
from u2cut.training.data import load_data
from u2cut.training.loader import SampleNumbers, Samples, batches, epoch_order

CONFIG = TrainConfig(resize=64, crop=0, batch_size=4, rotation=20, color_jitter=0.2)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=20), st.integers(0, 99))
@settings(max_examples=50)
def test_an_epoch_shows_each_photo_as_often_as_its_weight_says(weights, epoch):
    total = sum(weights)
    if total < 1:
        weights = [w + 1 for w in weights]
        total = sum(weights)
    order = epoch_order(0, epoch, np.array(weights))
    assert len(order) == round(total)
    times = Counter(order.tolist())
    stretch = len(order) / total
    assert all(abs(times[i] - w * stretch) < 1 + 1e-9 for i, w in enumerate(weights))


def test_epochs_differ_in_order_and_even_out_in_number():
    weights = np.array([0.3, 1, 1.7])
    orders = [epoch_order(5, e, weights).tolist() for e in range(400)]
    assert len({tuple(o) for o in orders}) == 9  # of {0, 1, 2} and {1, 2, 2}
    times = Counter(i for order in orders for i in order)
    assert [times[i] / 400 for i in range(3)] == pytest.approx(weights, abs=0.1)


def take(count, **places):
    return list(islice(SampleNumbers(np.ones(10), CONFIG, **places), count))


def test_going_on_at_a_number_gives_the_same_stream():
    assert take(9)[4:] == take(5, start=16)


def test_processes_share_each_batch():
    shares = [take(6, rank=r, world=2) for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == take(6)


@pytest.fixture
def data(tmp_path, make_set):
    config = replace(CONFIG, data=[make_set()])
    return load_data(config, tmp_path / "cache")


def test_a_sample_depends_on_nothing_but_seed_and_number(data):
    samples, other = Samples(data, CONFIG), Samples(data, replace(CONFIG, seed=1))
    first = samples[7, 2]
    samples[8, 3]
    assert all(torch.equal(a, b) for a, b in zip(first, samples[7, 2], strict=True))
    assert not torch.equal(first[0], samples[8, 2][0])
    assert not torch.equal(first[0], other[7, 2][0])


def test_workers_bring_the_same_batches_in_the_same_order(data):
    def first_batches(workers):
        numbers = SampleNumbers(data.weights, CONFIG)
        stream = batches(Samples(data, CONFIG), numbers, workers=workers, pin_memory=False)
        return list(islice(stream, 3))

    for a, b in zip(first_batches(0), first_batches(2), strict=True):
        assert a.images.shape == (4, 3, 64, 64)
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.truth, b.truth)
        assert torch.equal(a.valid, b.valid)
        assert 0 < a.truth.mean() < 1
