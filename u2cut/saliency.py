"""From a photo to the network's input, and from the fused map to a saliency map.

The published pipeline (xuebinqin/U-2-Net, u2net_test.py and data_loader.py): squash the RGB
photo to 320×320, divide by its maximum, normalise with ImageNet's mean and deviation; then
min-max the fused map and resize it bilinearly to the photo's size.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MEAN: Final = np.array([0.485, 0.456, 0.406], dtype=np.float32)
STD: Final = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def shrink(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Squash a photo to ``size``×``size``, anti-aliased, its aspect ignored.

    Each axis that shrinks is averaged over its pixels (area); each that grows is bilinear.

    Args:
        image: RGB, (H, W, 3) uint8.
        size: Side of the network's input in pixels.

    Returns:
        RGB, (size, size, 3) uint8.
    """
    height, width = image.shape[:2]
    small = image
    if height > size or width > size:
        # One axis at a time: cv2's area mode aliases when either axis grows.
        shrunk = (min(width, size), min(height, size))
        small = np.asarray(cv2.resize(small, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
    if height < size or width < size:
        grown = cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)
        small = np.asarray(grown, np.uint8)
    return small


def prepare(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Turn a photo into the network's input.

    Args:
        image: RGB, (H, W, 3) uint8.
        size: Side of the network's input in pixels.

    Returns:
        Normalised RGB, (3, size, size) float32, C-contiguous.
    """
    small = shrink(image, size).astype(np.float32)
    peak = float(small.max())
    if peak > 0:
        small /= peak
    small -= MEAN
    small /= STD
    return np.ascontiguousarray(small.transpose(2, 0, 1))
