"""How many copies of a big photo are in memory at once, stage by stage (Linux only).

    python benchmarks/copies.py [--megapixels 24]

In bytes a pixel, beside what the stages need at least: RGB is 3, alpha (float32) 4, RGBA 4. The
kernel's high-water mark is set back before each stage, so libraries' memory counts, too.
"""

import argparse
import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from u2cut import matting
from u2cut.batch.bench import example_photo
from u2cut.imaging.composite import cutout
from u2cut.imaging.decode import decode
from u2cut.imaging.encode import encode
from u2cut.saliency import preprocess

T = TypeVar("T")
_SIZE = 320


def memory(field: str) -> int:
    """Read a field of this process's status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


class Table:
    """Runs stages and prints what each needed on top of what was there."""

    def __init__(self, pixels: int) -> None:
        self._pixels = pixels
        print("| stage | least | at most |\n|---|---|---|")

    def stage(self, name: str, least: int, work: Callable[[], T]) -> T:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what was freed, but not given back, hides growth
        before = memory("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM back to VmRSS
        result = work()
        highest = (memory("VmHWM") - before) / self._pixels
        print(f"| {name} | {least} | {highest:.1f} |", flush=True)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=24)
    options = parser.parse_args()
    # Everything is loaded, and has run once, before anything is measured.
    small = decode(example_photo(1), max_pixels=10**9).image
    small_map = np.full((_SIZE, _SIZE), 0.5, np.float32)
    small_alpha = matting.alpha_matte(small, small_map, "best")
    encode(cutout(matting.foreground(small, small_alpha), small_alpha), "png")
    preprocess(small, _SIZE)

    data = example_photo(options.megapixels)
    rows, columns = np.mgrid[:_SIZE, :_SIZE] - _SIZE / 2
    saliency = np.clip((_SIZE / 4 - np.hypot(rows, columns)) / 4 + 0.5, 0, 1).astype(np.float32)
    height, width = decode(data, max_pixels=10**9).image.shape[:2]
    table = Table(height * width)
    image = table.stage("decode", 3, lambda: decode(data, max_pixels=10**9).image)
    table.stage("network input", 0, lambda: preprocess(image, _SIZE))
    for method in ("none", "best", "fast"):
        alpha = table.stage(
            f"alpha, {method}", 4, lambda m=method: matting.alpha_matte(image, saliency, m)
        )
    colours = table.stage("colours", 3, lambda: matting.foreground(image, alpha))
    rgba = table.stage("cutout", 4, lambda: cutout(colours, alpha))
    table.stage("encode", 0, lambda: encode(rgba, "png"))


if __name__ == "__main__":
    main()
