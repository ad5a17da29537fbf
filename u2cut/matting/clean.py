"""Tidying a matte: specks, holes, the main subject, the edge."""

import cv2
import numpy as np
from numpy.typing import NDArray


def clean(alpha: NDArray[np.float32], share: float = 0.02) -> NDArray[np.float32]:
    """Remove specks and fill holes smaller than ``share`` of the subject (``--clean``).

    Args:
        alpha: Straight alpha, (H, W) float32 in [0, 1].
        share: Of the largest piece's area, in (0, 1).

    Returns:
        (H, W) float32 in [0, 1].
    """
    pieces, areas = _components(alpha > 0.5)
    limit = share * max(areas[1:], default=0)
    result = alpha.copy()
    result[areas[pieces] < limit] = 0
    gaps, areas = _components(alpha <= 0.5)
    result[(gaps > 0) & (areas[gaps] < limit)] = 1
    return result


def largest(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep the main subject: the piece with the most opacity (``--largest``).

    Args:
        alpha: Straight alpha, (H, W) float32 in [0, 1].

    Returns:
        (H, W) float32 in [0, 1].
    """
    pieces, areas = _components(alpha > 0)
    if len(areas) <= 2:
        return alpha.copy()
    opacity = np.bincount(pieces.ravel(), alpha.ravel())
    return np.where(pieces == 1 + int(opacity[1:].argmax()), alpha, np.float32(0))


def feather(alpha: NDArray[np.float32], pixels: float) -> NDArray[np.float32]:
    """Soften the edge over about ``pixels`` on either side (``--feather``).

    Args:
        alpha: Straight alpha, (H, W) float32 in [0, 1].
        pixels: Of the output, 0 or more.

    Returns:
        (H, W) float32 in [0, 1].
    """
    if pixels <= 0:
        return alpha.copy()
    soft = cv2.GaussianBlur(alpha, (0, 0), pixels / 2, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, np.float32)


def erode(alpha: NDArray[np.float32], pixels: int) -> NDArray[np.float32]:
    """Move the edge inwards by ``pixels`` (``--erode``); the photo's border is no edge.

    Args:
        alpha: Straight alpha, (H, W) float32 in [0, 1].
        pixels: Of the output, 0 or more.

    Returns:
        (H, W) float32 in [0, 1].
    """
    if pixels <= 0:
        return alpha.copy()
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.erode(alpha, disc), np.float32)


def _components(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Label the 8-connected pieces; label 0 is the rest. Return the labels and their areas."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    areas = np.asarray(stats[:, cv2.CC_STAT_AREA], np.int32)
    return np.asarray(labels, np.int32), areas
