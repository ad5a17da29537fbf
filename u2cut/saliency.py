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
    if (height, width) == (size, size):
        return image
    if (height >= size) == (width >= size):
        method = cv2.INTER_AREA if height >= size else cv2.INTER_LINEAR
        return cv2.resize(image, (size, size), interpolation=method)
    # cv2's area mode falls back to bilinear, with aliasing, when one of the axes grows.
    shrunk = (min(width, size), min(height, size))
    image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


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
