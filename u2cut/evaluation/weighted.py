"""Weighted Fβ: an error counts by where it lies (Margolin et al., CVPR 2014)."""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.evaluation.curves import EPSILON

REACH: Final = 3  # the Gaussian is 7×7 pixels, σ = 5
_GAUSSIAN: Final = cv2.getGaussianKernel(2 * REACH + 1, 5, cv2.CV_32F)
_DECAY: Final = math.log(0.5) / 5  # an error's weight off the subject rises from 1 to 2

# Steps to every pixel that can be the nearest one of a 7×7 window: by distance, then the leftmost,
# then the topmost, which is how SciPy's distance transform settles ties.
_NEAREST: Final = sorted(
    (
        (dy, dx)
        for dy in range(-4, 5)
        for dx in range(-4, 5)
        if 0 < dy * dy + dx * dx <= 2 * REACH * REACH
    ),
    key=lambda step: (step[0] ** 2 + step[1] ** 2, step[1], step[0]),
)


def weighted_f(error: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Weighted Fβ with β² = 1, in [0, 1]; 0 when the truth is empty.

    Args:
        error: Absolute difference of map and truth, (H, W) float32 in [0, 1].
        truth: 1 on the subject, else 0; (H, W) uint8.
    """
    subject = int(np.count_nonzero(truth))
    if subject == 0:
        return 0.0
    missed = _dependent_errors(error, truth)
    recall = 1 - missed / subject
    distance = cv2.distanceTransform(1 - truth, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    importance = 2 - np.exp(_DECAY * distance)
    false = float(np.sum(importance * error, where=truth == 0, dtype=np.float64))
    precision = (subject - missed) / (subject - missed + false + EPSILON)
    return 2 * recall * precision / (recall + precision + EPSILON)


def _dependent_errors(error: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Sum the errors on the subject, each lowered to the mean around it where that is less.

    Around the subject's edge that mean takes a pixel outside for its nearest one inside.
    """
    x, y, width, height = cv2.boundingRect(truth)
    box = (
        slice(max(y - REACH, 0), y + height + REACH),
        slice(max(x - REACH, 0), x + width + REACH),
    )
    # Room for the steps, so that none leaves the array; beyond the photo there is no error.
    inside = np.pad(truth[box], REACH + 1)
    errors = np.pad(error[box], REACH + 1)
    window = np.ones((2 * REACH + 1, 2 * REACH + 1), np.uint8)
    around = cv2.dilate(truth[box], window) - truth[box]
    todo = np.flatnonzero(np.pad(around, REACH + 1))
    spread = errors.copy()
    for dy, dx in _NEAREST:
        source = todo + (dy * inside.shape[1] + dx)
        found = inside.ravel()[source] > 0
        spread.ravel()[todo[found]] = errors.ravel()[source[found]]
        todo = todo[~found]
        if todo.size == 0:
            break
    mean = cv2.sepFilter2D(spread, -1, _GAUSSIAN, _GAUSSIAN, borderType=cv2.BORDER_CONSTANT)
    return float(np.sum(np.minimum(errors, mean), where=inside > 0, dtype=np.float64))
