"""Colours that a file hides under alpha 0, replaced by what is seen around them."""

import cv2
import numpy as np
from numpy.typing import NDArray


def fill_hidden(image: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Fill the pixels under alpha 0 with the visible colours nearest to them.

    What lies there is whatever a program left: black, a key colour, the old background. It is
    no part of the picture, so neither the network nor a blurred background may see it. Averages
    of visible pixels are taken on ever smaller copies (the pull-push pyramid of Gortler et al.,
    SIGGRAPH 1996), so that smooth colours run out from the subject.

    Args:
        image: RGB, (H, W, 3) uint8.
        alpha: (H, W) float32 in [0, 1].

    Returns:
        (H, W, 3) uint8; the same array if nothing is hidden.
    """
    hidden = alpha <= 0
    if not hidden.any():
        return image
    weight = (~hidden).astype(np.float32)
    filled = _pull(image.astype(np.float32) * weight[..., None], weight)
    result = image.copy()
    result[hidden] = np.rint(filled[hidden]).astype(np.uint8)
    return result


def _pull(colours: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return colours without gaps, (h, w, 3).

    Args:
        colours: Sums of visible colours, (h, w, 3).
        weight: How many there are in each, (h, w).
    """
    height, width = weight.shape
    if height == 1 and width == 1:
        only: NDArray[np.float32] = colours / np.maximum(weight, 1e-6)[..., None]
        return only
    size = (max(1, width // 2), max(1, height // 2))
    smaller = _pull(
        np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_AREA), np.float32).reshape(
            size[1], size[0], 3
        ),
        np.asarray(cv2.resize(weight, size, interpolation=cv2.INTER_AREA), np.float32).reshape(
            size[1], size[0]
        ),
    )
    around = cv2.resize(smaller, (width, height), interpolation=cv2.INTER_LINEAR)
    seen = np.minimum(weight, 1)[..., None]
    own = colours / np.maximum(weight, 1e-6)[..., None]
    merged: NDArray[np.float32] = seen * own + (1 - seen) * around
    return merged
