"""Photos to test with, results to look into."""

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"


def disc_photo(height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """A red disc on a blue-grey ground, RGB: a subject that no network misses."""
    photo = np.full((height, width, 3), (90, 110, 140), np.uint8)
    noise = np.random.default_rng(1).integers(-12, 12, photo.shape)
    photo = (photo + noise).astype(np.uint8)
    centre = (width // 2, height // 2)
    return np.asarray(cv2.circle(photo, centre, min(height, width) // 3, (210, 40, 30), -1))


def opened(data: bytes | Path) -> NDArray[np.uint8]:
    """Decode a result with Pillow, in whatever mode it has."""
    with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
        return np.asarray(image)


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: bytes
    err: str
