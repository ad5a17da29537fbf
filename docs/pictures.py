"""Make the README's pictures: examples and their cutouts; a photo that shows the limits.

python docs/pictures.py
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from u2cut import Cutout, Remover

ROOT = Path(__file__).parent.parent
HEIGHT = 220


def checkerboard(shape: tuple[int, int], square: int = 16) -> NDArray[np.uint8]:
    """Make a grey checkerboard, (H, W, 3)."""
    rows, columns = np.indices(shape) // square
    grey = np.where((rows + columns) % 2, 205, 140).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def row(cutout: Cutout) -> Image.Image:
    """Put a photo and its composites side by side."""
    board = checkerboard(cutout.shape)
    pictures = [
        cutout.photo.image,
        *(cutout.composite(ground) for ground in ("white", "black", board)),
    ]
    strip = Image.fromarray(np.hstack(pictures))
    return strip.resize(
        (round(strip.width * HEIGHT / strip.height), HEIGHT), Image.Resampling.LANCZOS
    )


if __name__ == "__main__":
    remover = Remover("u2net")
    rows = [row(remover.remove(path)) for path in sorted((ROOT / "examples").glob("*.jpg"))]
    width = min(r.width for r in rows)
    rows = [r.resize((width, round(r.height * width / r.width))) for r in rows]
    sheet = Image.new("RGB", (width, sum(r.height for r in rows)))
    top = 0
    for r in rows:
        sheet.paste(r, (0, top))
        top += r.height
    sheet.save(ROOT / "docs" / "before-after.jpg", quality=88)

    astronaut = remover.remove(ROOT / "examples" / "astronaut.jpg")
    limits = Image.fromarray(np.hstack([astronaut.photo.image, astronaut.composite("#00b140")]))
    limits.resize((800, 400), Image.Resampling.LANCZOS).save(
        ROOT / "docs" / "limits.jpg", quality=85
    )
