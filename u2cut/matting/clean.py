"""Tidying a matte: specks, holes, the main subject, the edge."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_FAINT: Final = 0.1  # alpha below this ties no pieces together, nor above its complement gaps


def clean(alpha: NDArray[np.float32], share: float = 0.02) -> NDArray[np.float32]:
    """Remove specks and fill holes smaller than ``share`` of the subject (``--clean``).

    A gap that touches the photo's border is no hole.

    Args:
        alpha: Straight alpha, (H, W) float32 in [0, 1].
        share: Of the largest piece's area, in (0, 1).

    Returns:
        (H, W) float32 in [0, 1].
    """
    pieces, areas = _nearest_piece(alpha > _FAINT)
    limit = share * float(areas.max())
    result = np.where((areas < limit)[pieces], np.float32(0), alpha)
    inside = result < 1 - _FAINT
    gaps, areas = _nearest_piece(inside)
    small = areas < limit
    for edge in np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1]:
        small[gaps[edge][inside[edge]]] = False
    return np.where(small[gaps] & inside, np.float32(1), result)


def largest(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep the main subject: the piece with the most opacity (``--largest``).

    Args:
        alpha: Straight alpha, (H, W) float32 in [0, 1].

    Returns:
        (H, W) float32 in [0, 1].
    """
    pieces, _ = _nearest_piece(alpha > _FAINT)
    opacity = np.bincount(pieces.ravel(), alpha.ravel())
    return np.where(pieces == int(opacity.argmax()), alpha, np.float32(0))


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


def _nearest_piece(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.intp]]:
    """Label each pixel with the connected piece it belongs to, or the nearest one.

    Returns:
        Labels from 1, or 0 everywhere without a piece, (H, W); each piece's area, by label.
    """
    if not mask.any():
        return np.zeros(mask.shape, np.int32), np.zeros(1, np.intp)
    outside = (~mask).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(
        outside, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_CCOMP
    )
    found = np.asarray(labels, np.int32).reshape(mask.shape)
    return found, np.bincount(found[mask], minlength=int(found.max()) + 1)
