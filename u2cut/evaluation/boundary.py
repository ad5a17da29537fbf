"""Relaxed boundary Fβ: whether the outline runs where it should (Qin et al., CVPR 2019)."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.evaluation.curves import f_beta

SLACK: Final = 3  # ρ: pixels by which an outline may be off
_OFFSETS: Final = np.arange(-SLACK, SLACK + 1)
_DISC: Final = (np.hypot(_OFFSETS[:, None], _OFFSETS) <= SLACK).astype(np.uint8)


def boundary_f(positive: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
    """Relaxed boundary Fβ with β² = 0.3 and ρ = 3 pixels, in [0, 1].

    Where the photo's edge cuts the subject off there is no outline. Two masks without any outline
    agree: 1; with an outline in one of them only: 0.

    Args:
        positive: 1 where the map is at least 0.5, else 0; (H, W) uint8.
        truth: 1 on the subject, else 0; (H, W) uint8.
    """
    ours, true = outline(positive), outline(truth)
    n_ours, n_true = cv2.countNonZero(ours), cv2.countNonZero(true)
    if n_ours == 0 or n_true == 0:
        return float(n_ours == n_true)
    return float(f_beta(_near(ours, true) / n_ours, _near(true, ours) / n_true))


def outline(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask's own pixels with a neighbour (of eight) outside it: mask XOR eroded mask."""
    eroded = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)), np.uint8)
    return mask ^ eroded


def _near(line: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """Return how many pixels of one outline lie within ρ of the other."""
    return cv2.countNonZero(cv2.bitwise_and(line, cv2.dilate(other, _DISC)))
