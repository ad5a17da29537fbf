"""Data sets that are drawn, not downloaded: coloured ellipses on noisy grounds."""

from pathlib import Path

import cv2
import numpy as np


def draw_pair(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return a photo, RGB (H, W, 3), and its mask (H, W)."""
    height, width = size
    centre = (int(width * rng.uniform(0.35, 0.65)), int(height * rng.uniform(0.35, 0.65)))
    axes = (int(width * rng.uniform(0.15, 0.3)), int(height * rng.uniform(0.15, 0.3)))
    mask = np.zeros(size, np.uint8)
    cv2.ellipse(mask, centre, axes, rng.uniform(0, 180), 0, 360, 255, -1)
    photo = np.clip(rng.normal(70, 20, (*size, 3)), 0, 255).astype(np.uint8)
    photo[mask > 0] = np.array([230, 180, 60]) + rng.integers(-20, 20, 3)
    return photo, mask


def write_set(
    folder: Path, count: int = 6, size: tuple[int, int] = (70, 90), seed: int = 0
) -> Path:
    """Write ``count`` pairs, 000.png and so on, into ``folder``/images and /masks."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        photo, mask = draw_pair(rng, size)
        cv2.imwrite(str(folder / "images" / f"{i:03}.png"), photo[:, :, ::-1])
        cv2.imwrite(str(folder / "masks" / f"{i:03}.png"), mask)
    return folder
