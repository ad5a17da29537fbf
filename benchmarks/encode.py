"""Time and size of encoding cutouts and composites, beside Pillow and OpenCV.

    python benchmarks/encode.py PHOTO... [--megapixels 12] [--rounds 3]

Each photo is scaled to the size asked for, with a little noise as cameras make it, and cut out
along an ellipse with a soft edge; colours under alpha 0 are zero, as in u2cut's cutouts.
"""

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from u2cut.imaging.composite import cutout
from u2cut.imaging.decode import decode
from u2cut.imaging.encode import encode

Encoder = Callable[[np.ndarray], bytes]


def pillow(format: str, **options: object) -> Encoder:
    def run(pixels: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format, **options)
        return file.getvalue()

    return run


def opencv(pixels: np.ndarray) -> bytes:
    order = {2: None, 3: cv2.COLOR_RGB2BGR}.get(pixels.ndim)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        order = cv2.COLOR_RGBA2BGRA
    return cv2.imencode(".png", pixels if order is None else cv2.cvtColor(pixels, order))[
        1
    ].tobytes()


def ours(format: str, **options: int) -> Encoder:
    return lambda pixels: encode(pixels, format, **options)


# The first of each group is what the others are compared with.
GROUPS: dict[str, dict[str, Encoder]] = {
    "png": {
        "Pillow, level 6": pillow("PNG", compress_level=6),
        "Pillow, level 1": pillow("PNG", compress_level=1),
        "OpenCV, default": opencv,
        "u2cut": ours("png"),
        "u2cut, --compression 1": ours("png", compression=1),
        "u2cut, --compression 9": ours("png", compression=9),
    },
    "others": {
        "u2cut, png": ours("png"),
        "u2cut, tiff": ours("tiff"),
        "u2cut, webp": ours("webp"),
        "u2cut, avif": ours("avif"),
    },
}


def photo(path: Path, megapixels: float) -> np.ndarray:
    image = decode(path.read_bytes(), max_pixels=10**9).image
    factor = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
    scaled = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    noise = np.random.default_rng(0).normal(0, 1.5, scaled.shape).astype(np.float32)
    return np.clip(scaled + noise, 0, 255).astype(np.uint8)


def ellipse(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.clip((0.8 - np.hypot(y, x)) * 20, 0, 1).astype(np.float32)


def measure(encoder: Encoder, pixels: np.ndarray, rounds: int) -> tuple[float, int]:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        data = encoder(pixels)
        times.append(time.perf_counter() - start)
    return statistics.median(times), len(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for path in options.photos:
        image = photo(path, options.megapixels)
        alpha = ellipse(*image.shape[:2])
        mask = (alpha * 255).astype(np.uint8)
        pictures = {"cutout": cutout(image, alpha), "composite": image, "mask": mask}
        for picture, pixels in pictures.items():
            for group, encoders in GROUPS.items():
                if group == "others" and picture != "cutout":
                    continue
                print(f"\n{path.name}, {picture}, {group}: seconds (ratio), MB (ratio)")
                base = None
                for name, encoder in encoders.items():
                    seconds, size = measure(encoder, pixels, options.rounds)
                    base = base or (seconds, size)
                    print(
                        f"  {name:24s} {seconds:6.2f} ({seconds / base[0]:.2f})"
                        f" {size / 1e6:7.2f} ({size / base[1]:.3f})",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
