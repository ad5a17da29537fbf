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


# A network that sees a subject is sure of it somewhere; below this, min-max would only
# stretch noise to full contrast.
SUBJECT_PEAK: Final = 0.3
_FLAT: Final = 1e-6


def normalise(fused: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stretch a fused map to [0, 1], as the authors do; a flat map becomes all 0.

    Args:
        fused: Probabilities, (s, s) float32 in [0, 1].

    Returns:
        Saliency map, (s, s) float32 in [0, 1].
    """
    low, high = float(fused.min()), float(fused.max())
    if high - low < _FLAT:
        return np.zeros_like(fused)
    return (fused - low) / (high - low)


def restore(fused: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Turn a fused map into a saliency map, unless the photo has no subject.

    Args:
        fused: Probabilities, (s, s) float32 in [0, 1].

    Returns:
        Saliency map, (s, s) float32 in [0, 1], min-max normalised; None without a subject.
    """
    if float(fused.max()) < SUBJECT_PEAK:
        return None
    return normalise(fused)


def enlarge(saliency: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a saliency map bilinearly to (height, width)."""
    if saliency.shape == shape:
        return saliency
    grown = cv2.resize(saliency, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, np.float32)
