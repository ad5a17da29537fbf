"""Metrics of soft alpha mattes, over the whole photo (Rhemann et al., CVPR 2009).

The units are those of alphamatting.com's tables: SAD, Gradient and Connectivity are divided by
1000, MSE is the mean over the photo's pixels.
"""

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA: Final = 1.4  # of the Gaussian whose derivative the Gradient metric uses, in pixels
SLOPE: Final = 0.15  # θ: how far a pixel may rise above its connected level unpunished
STEPS: Final = 10  # thresholds of the Connectivity metric

_MIDDLE: Final = (26, 229)  # levels from 10 % to 90 %


@dataclass(frozen=True)
class MatteScores:
    """The distance of an alpha matte from a soft truth; less is better."""

    sad: float
    mse: float
    gradient: float
    connectivity: float


def is_smooth(truth: NDArray[np.uint8]) -> bool:
    """Tell a truth with middle levels, 16 at least, from a mask or a trimap.

    Args:
        truth: (H, W) uint8.
    """
    counts = cv2.calcHist([truth], [0], None, [256], [0, 256]).ravel()
    return int(np.count_nonzero(counts[_MIDDLE[0] : _MIDDLE[1] + 1])) >= 16


def is_soft(truth: NDArray[np.uint8]) -> bool:
    """Tell an alpha matte from a mask, be it with smooth edges, and from a trimap.

    A matte's transitions are wide: one pixel in 5000 is the centre of 3×3 middle ones.

    Args:
        truth: (H, W) uint8.
    """
    middle = cv2.inRange(truth, np.array(_MIDDLE[0]), np.array(_MIDDLE[1]))
    wide = cv2.erode(middle, np.ones((3, 3), np.uint8))
    return is_smooth(truth) and cv2.countNonZero(wide) * 5000 >= truth.size


def matte_scores(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> MatteScores:
    """Compare an alpha matte with its truth.

    Args:
        alpha: (H, W) uint8.
        truth: (H, W) uint8.
    """
    difference = np.abs(alpha.astype(np.float32) - truth) / 255
    return MatteScores(
        sad=float(difference.sum(dtype=np.float64)) / 1000,
        mse=float(np.square(difference).mean(dtype=np.float64)),
        gradient=gradient_error(alpha, truth),
        connectivity=connectivity_error(alpha, truth),
    )


def gradient_error(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Summed squared difference of the gradients' magnitudes / 1000 (q = 2)."""
    difference = _gradient(alpha) - _gradient(truth)
    return float(np.square(difference).sum(dtype=np.float64)) / 1000


def connectivity_error(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Summed difference of the degrees of connectivity / 1000 (p = 1, steps of 0.1).

    A pixel is connected at the greatest threshold at which it still belongs to the largest region
    (4-neighbours) where both mattes reach the threshold.
    """
    level = np.ones(alpha.shape, np.float32)
    both = np.minimum(alpha, truth)
    open_ = np.ones(alpha.shape, bool)  # pixels that belonged to the region at every step so far
    for step in range(1, STEPS + 1):
        reached = both >= math.ceil(255 * step / STEPS)
        left = open_ & ~_largest_region(reached)
        level[left] = (step - 1) / STEPS
        open_ &= ~left
    difference = _connectedness(alpha, level) - _connectedness(truth, level)
    return float(np.abs(difference).sum(dtype=np.float64)) / 1000


def _gradient(matte: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Magnitude of the matte's gradient by a derivative of Gaussian, (H, W) float32."""
    # The kernel ends where the Gaussian falls to 1 %; its 2-D norm is 1.
    half = math.ceil(SIGMA * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * SIGMA * 0.01)))
    x = np.arange(-half, half + 1)
    smooth = np.exp(-(x**2) / (2 * SIGMA**2))
    slope = x * smooth
    smooth, slope = smooth / np.linalg.norm(smooth), slope / np.linalg.norm(slope)
    values = matte.astype(np.float32) / 255
    across, down = (
        cv2.sepFilter2D(values, -1, kx, ky, borderType=cv2.BORDER_REPLICATE)
        for kx, ky in ((slope, smooth), (smooth, slope))
    )
    return np.asarray(cv2.magnitude(across, down), np.float32)


def _largest_region(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest 4-connected region of a mask; empty if the mask is."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=4
    )
    if count < 2:
        return np.zeros(mask.shape, bool)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    return np.asarray(labels == largest)


def _connectedness(matte: NDArray[np.uint8], level: NDArray[np.float32]) -> NDArray[np.float32]:
    """φ: 1, less what the matte rises above its connected level if that is at least θ."""
    rise = matte.astype(np.float32) / 255 - level
    return np.asarray(1 - rise * (rise >= SLOPE), np.float32)
