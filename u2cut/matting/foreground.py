"""The subject's own colours, freed from the old background's."""

import cv2
import numpy as np
from numpy.typing import NDArray


def foreground(image: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Estimate the colours that the subject has under its soft edge.

    Blur-fusion, two passes (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021).

    Args:
        image: RGB, (H, W, 3) uint8.
        alpha: Straight alpha, (H, W) float32 in [0, 1].

    Returns:
        RGB, (H, W, 3) uint8; the photo's own colours where alpha is 0 or 1.
    """
    photo = image.astype(np.float32)
    front, back = _fuse(photo, photo, photo, alpha, radius=45)
    front, _ = _fuse(photo, front, back, alpha, radius=3)
    colours = np.clip(np.rint(front), 0, 255).astype(np.uint8)
    known = (alpha >= 1) | (alpha <= 0)
    colours[known] = image[known]
    return colours


def _fuse(
    photo: NDArray[np.float32],
    front: NDArray[np.float32],
    back: NDArray[np.float32],
    alpha: NDArray[np.float32],
    radius: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Blur both layers, weighted by alpha, then let them explain the photo (equations 4 to 7)."""
    window = (2 * radius + 1, 2 * radius + 1)
    a = alpha[..., None]
    weight = cv2.blur(alpha, window)[..., None]
    front = cv2.blur(front * a, window) / (weight + 1e-5)
    back = cv2.blur(back * (1 - a), window) / (1 - weight + 1e-5)
    front = front + a * (photo - a * front - (1 - a) * back)
    return front, back
