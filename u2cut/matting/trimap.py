"""What the map is sure of: background, foreground, and the unknown band between them."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

BACKGROUND: Final = 0
UNKNOWN: Final = 128
FOREGROUND: Final = 255

_REACH: Final = 1 / 20  # of the map's side: what is grey this far around is a region, no edge
_DECISION: Final = 4


def settle(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """Push wide grey regions to a side, and leave narrow ones, the edges, as they are.

    Where the network wavers over a whole region, half an alpha would show it as a ghost.

    Args:
        saliency: (h, w) float32 in [0, 1].

    Returns:
        (h, w) float32 in [0, 1].
    """
    reach = max(1, round(max(saliency.shape) * _REACH))
    window = (2 * reach + 1, 2 * reach + 1)
    p = np.clip(saliency, 1e-4, 1 - 1e-4)
    greyness = cv2.blur(4 * p * (1 - p), window, borderType=cv2.BORDER_REFLECT)
    gain = 1 + _DECISION * np.asarray(greyness, np.float32).reshape(p.shape) ** 4
    odds = (p / (1 - p)) ** gain
    return np.asarray(odds / (1 + odds), np.float32)


def trimap(
    saliency: NDArray[np.float32], shape: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Sort the pixels into background, unknown and foreground.

    The band is where the map wavers, widened in proportion to the map's own pixels, so it
    keeps its place on the photo whatever the photo's size.

    Args:
        saliency: Saliency map of any resolution, (h, w) float32 in [0, 1].
        shape: (height, width) of the result; None keeps the map's.

    Returns:
        (height, width) uint8: 0 background, 128 unknown, 255 foreground.
    """
    reach = max(1, round(max(saliency.shape) / 100))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    subject = (saliency > 0.5).astype(np.uint8)
    sure = cv2.erode((saliency > 0.9).astype(np.uint8), kernel)
    possible = cv2.dilate((saliency > 0.1).astype(np.uint8) | subject, kernel)
    regions = np.full(saliency.shape, UNKNOWN, np.uint8)
    regions[sure > 0] = FOREGROUND
    regions[possible == 0] = BACKGROUND
    height, width = shape or saliency.shape
    grown = cv2.resize(regions, (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(grown, np.uint8)
