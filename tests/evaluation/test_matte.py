import math

import cv2
import numpy as np
import pytest

from u2cut.evaluation.matte import (
    connectivity_error,
    gradient_error,
    is_smooth,
    is_soft,
    matte_scores,
)


def matte(seed, shape=(24, 31)):
    field = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal(shape), (0, 0), 2)
    return np.clip(128 + 600 * field, 0, 255).astype(np.uint8)


def magnitudes(values):
    """Gradient magnitude by a full two-dimensional correlation, as alphamatting.com defines it."""
    sigma = 1.4
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 1e-2)))
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    for i in range(-half, half + 1):
        for j in range(-half, half + 1):
            gauss = math.exp(-(i**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
            slope = -j * math.exp(-(j**2) / (2 * sigma**2)) / (sigma**3 * math.sqrt(2 * math.pi))
            kernel[i + half, j + half] = gauss * slope
    kernel /= math.sqrt((kernel**2).sum())
    padded = np.pad(values / 255, half, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape)
    return np.hypot((windows * kernel).sum((2, 3)), (windows * kernel.T).sum((2, 3)))


def largest_region(mask):
    """The largest 4-connected region, by flooding."""
    todo, best = {tuple(p) for p in np.argwhere(mask)}, set()
    for start in sorted(todo):
        if start not in todo:
            continue
        region, front = set(), [start]
        todo.discard(start)
        while front:
            y, x = front.pop()
            region.add((y, x))
            for step in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if step in todo:
                    todo.discard(step)
                    front.append(step)
        if len(region) > len(best):
            best = region
    return best


def connectivity_by_hand(alpha, truth):
    level = np.full(alpha.shape, -1.0)
    for step in range(1, 11):
        region = largest_region((alpha / 255 >= step / 10) & (truth / 255 >= step / 10))
        for y, x in np.ndindex(alpha.shape):
            if level[y, x] == -1 and (y, x) not in region:
                level[y, x] = (step - 1) / 10
    level[level == -1] = 1

    def phi(values):
        rise = values / 255 - level
        return 1 - np.where(rise >= 0.15, rise, 0)

    return np.abs(phi(alpha) - phi(truth)).sum() / 1000


@pytest.mark.parametrize("seed", range(3))
def test_gradient_equals_its_definition(seed):
    alpha, truth = matte(seed), matte(seed + 100)
    expected = ((magnitudes(alpha) - magnitudes(truth)) ** 2).sum() / 1000
    assert gradient_error(alpha, truth) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_connectivity_equals_its_definition(seed):
    alpha, truth = matte(seed), matte(seed + 100)
    expected = connectivity_by_hand(alpha, truth)
    assert connectivity_error(alpha, truth) == pytest.approx(expected, rel=1e-4)


def test_sad_and_mse_of_a_constant_difference():
    truth = np.full((40, 50), 200, np.uint8)
    scores = matte_scores(truth - 51, truth)
    assert scores.sad == pytest.approx(2000 * 0.2 / 1000)
    assert scores.mse == pytest.approx(0.04)
    assert scores.gradient == pytest.approx(0, abs=1e-9)


def test_an_island_costs_connectivity_and_its_size_decides():
    truth = np.zeros((40, 40), np.uint8)
    truth[5:30, 5:30] = 255
    alpha = truth.copy()
    alpha[35:38, 35:38] = 255
    assert connectivity_error(truth, truth) == 0
    assert connectivity_error(alpha, truth) == pytest.approx(9 / 1000)


def test_a_perfect_matte_has_no_error():
    truth = matte(5)
    scores = matte_scores(truth, truth)
    assert (scores.sad, scores.mse, scores.gradient, scores.connectivity) == (0, 0, 0, 0)


def test_masks_trimaps_and_mattes_are_told_apart():
    mask = np.zeros((100, 100), np.uint8)
    mask[20:80, 20:80] = 255
    trimap = mask.copy()
    trimap[15:25] = 128
    assert not is_soft(mask)
    assert not is_smooth(trimap)
    smooth = np.zeros_like(mask)
    cv2.circle(smooth, (50, 50), 30, 255, -1, lineType=cv2.LINE_AA)
    assert is_smooth(smooth)
    assert not is_soft(smooth)
    assert is_soft(cv2.GaussianBlur(mask, (0, 0), 3))
