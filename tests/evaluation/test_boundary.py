import cv2
import numpy as np
import pytest

from u2cut.evaluation.boundary import boundary_f, outline


def by_hand(positive, truth):
    """Relaxed boundary Fβ, pixel by pixel."""

    def edge(mask):
        height, width = mask.shape
        return [
            (y, x)
            for y in range(height)
            for x in range(width)
            if mask[y, x] and not mask[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].all()
        ]

    def share(line, other):
        near = [any((y - v) ** 2 + (x - u) ** 2 <= 9 for v, u in other) for y, x in line]
        return sum(near) / len(line)

    ours, true = edge(positive), edge(truth)
    precision, recall = share(ours, true), share(true, ours)
    return 1.3 * precision * recall / (0.3 * precision + recall)


def blob(rng):
    field = cv2.GaussianBlur(rng.standard_normal((30, 34)), (0, 0), 3)
    return (field > 0).astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_it_equals_a_count_by_hand(seed):
    rng = np.random.default_rng(seed)
    positive, truth = blob(rng), blob(rng)
    assert boundary_f(positive, truth) == pytest.approx(by_hand(positive, truth), abs=1e-12)


@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (3, 1.0), (4, 0.0)])
def test_an_outline_may_be_off_by_three_pixels(shift, expected):
    truth, positive = np.zeros((2, 40, 40), np.uint8)
    truth[:, :20] = 1
    positive[:, : 20 + shift] = 1
    assert boundary_f(positive, truth) == expected


def test_the_edge_of_the_photo_is_no_outline():
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :4] = 1
    assert np.argwhere(outline(mask))[:, 1].tolist() == [3] * 10


def test_masks_without_an_outline_agree_only_with_each_other():
    empty, full = np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)
    half = np.tri(9, dtype=np.uint8)
    assert boundary_f(empty, empty) == boundary_f(full, full) == 1
    assert boundary_f(half, empty) == boundary_f(empty, half) == 0
