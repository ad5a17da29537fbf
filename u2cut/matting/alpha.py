"""From a coarse saliency map to an alpha matte at the photo's resolution."""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Method = Literal["fast", "best", "none"]


def alpha_matte(
    image: NDArray[np.uint8], saliency: NDArray[np.float32], method: Method = "fast"
) -> NDArray[np.float32]:
    """Return the photo's alpha matte.

    Args:
        image: RGB, (H, W, 3) uint8.
        saliency: Saliency map of any resolution, (h, w) float32 in [0, 1], over the whole photo.
        method: ``fast``, ``best`` (slower, finer) or ``none`` (the upscaled map itself).

    Returns:
        Straight alpha, (H, W) float32 in [0, 1].
    """
    height, width = image.shape[:2]
    upscaled = cv2.resize(saliency, (width, height), interpolation=cv2.INTER_LINEAR)
    coarse = np.asarray(upscaled, np.float32)
    if method == "none":
        return np.clip(coarse, 0, 1)
    binary = (coarse > 0.5).astype(np.float32)
    return _guided_filter(image, binary, radius=max(2, max(height, width) // 50), epsilon=1e-5)


def _guided_filter(
    image: NDArray[np.uint8], target: NDArray[np.float32], radius: int, epsilon: float
) -> NDArray[np.float32]:
    """Guided filter with a colour guide (He, Sun, Tang, TPAMI 2013, equations 14 to 16)."""
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
        blurred = cv2.blur(x, window, borderType=cv2.BORDER_REFLECT)
        return np.asarray(blurred, np.float32)

    guide = image.astype(np.float32) / np.float32(255)
    mean_guide, mean_target = mean(guide), mean(target)
    covariance = np.empty((*target.shape, 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            c = mean(guide[..., i] * guide[..., j]) - mean_guide[..., i] * mean_guide[..., j]
            covariance[..., i, j] = covariance[..., j, i] = c
    covariance += epsilon * np.eye(3, dtype=np.float32)
    cross = mean(guide * target[..., None]) - mean_guide * mean_target[..., None]
    a = np.linalg.solve(covariance, cross[..., None])[..., 0]
    b = mean_target - (a * mean_guide).sum(-1)
    matte = (mean(a) * guide).sum(-1) + mean(b)
    return np.clip(matte, 0, 1).astype(np.float32)
