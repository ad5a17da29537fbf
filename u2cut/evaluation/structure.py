"""S-measure: how well the map keeps the structure of the truth (Fan et al., ICCV 2017)."""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.evaluation.curves import EPSILON, Counts, Levels

ALPHA: Final = 0.5  # the object's weight against the region's


def quadrant_counts(
    saliency: NDArray[np.uint8], truth: NDArray[np.uint8], valid: NDArray[np.uint8] | None
) -> list[Counts]:
    """Count levels in the four quadrants around the subject's centre of gravity.

    Args:
        saliency: The map, (H, W) uint8.
        truth: 1 on the subject, else 0; (H, W) uint8.
        valid: 1 where the truth is known, else 0; None knows it everywhere.
    """
    height, width = truth.shape
    moments = cv2.moments(truth, binaryImage=True)
    if area := moments["m00"]:
        # One more than the rounded centre: MATLAB's ranges contain their end.
        x, y = round(moments["m10"] / area) + 1, round(moments["m01"] / area) + 1
    else:
        x, y = round(width / 2) + 1, round(height / 2) + 1
    rows, columns = (slice(0, y), slice(y, height)), (slice(0, x), slice(x, width))
    return [
        _count(saliency[r, c], truth[r, c], None if valid is None else valid[r, c])
        for r in rows
        for c in columns
    ]


def s_measure(quadrants: list[Counts], levels: Levels) -> float:
    """S-measure of a map, in [0, 1].

    Args:
        quadrants: The counts around the subject's centre.
        levels: The map's levels.
    """
    inside = np.sum([q.inside for q in quadrants], axis=0)
    outside = np.sum([q.outside for q in quadrants], axis=0)
    subject, rest = int(inside.sum()), int(outside.sum())
    size = max(subject + rest, 1)
    if subject == 0:
        return 1 - float(outside @ levels.values) / size
    if rest == 0:
        return float(inside @ levels.values) / size
    on_it = _object(inside, levels.values) * subject
    off_it = _object(outside, 1 - levels.values) * rest
    regions = sum(_similarity(quadrant, levels) for quadrant in quadrants)
    return max(0.0, (ALPHA * (on_it + off_it) + (1 - ALPHA) * regions) / size)


def _count(
    saliency: NDArray[np.uint8], truth: NDArray[np.uint8], valid: NDArray[np.uint8] | None
) -> Counts:
    if saliency.size == 0:
        return Counts(np.zeros(256, np.int64), np.zeros(256, np.int64))
    # OpenCV counts in float32: exact up to 2^24 pixels a level.
    inside = cv2.calcHist([saliency], [0], truth, [256], [0, 256]).ravel().astype(np.int64)
    every = cv2.calcHist([saliency], [0], valid, [256], [0, 256]).ravel().astype(np.int64)
    return Counts(inside, np.maximum(every - inside, 0))


def _object(pixels: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Equation 5: high where the values are near 1 and alike."""
    n = int(pixels.sum())
    mean = float(pixels @ values) / n
    deviation = math.sqrt(float(pixels @ (values - mean) ** 2) / (n - 1)) if n > 1 else 0.0
    return 2 * mean / (mean**2 + 1 + deviation + EPSILON)


def _similarity(counts: Counts, levels: Levels) -> float:
    """SSIM of map and truth over one quadrant (equation 1), times its number of pixels."""
    steps = np.arange(256, dtype=np.int64) - levels.low
    every = counts.inside + counts.outside
    n, subject = int(every.sum()), int(counts.inside.sum())
    if n == 0:
        return 0.0
    total, hits = int(every @ steps), int(counts.inside @ steps)
    squares = int(every @ steps**2)
    # Python's integers hold n² times the variances and the covariance exactly.
    scale = max(n * (n - 1), 1)
    map_variance = (n * squares - total**2) / (scale * levels.span**2)
    truth_variance = (n * subject - subject**2) / scale
    covariance = (n * hits - total * subject) / (scale * levels.span)
    map_mean, truth_mean = total / (n * levels.span), subject / n
    product = 4 * map_mean * truth_mean * covariance
    spread = (map_mean**2 + truth_mean**2) * (map_variance + truth_variance)
    if product != 0:
        return n * product / (spread + EPSILON)
    return float(n) if spread == 0 else 0.0
