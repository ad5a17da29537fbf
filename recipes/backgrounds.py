"""Cut backgrounds, to paste subjects on, from photos: the largest part without the subject.

python recipes/backgrounds.py OUT SETS...

A set holds images and masks. From each photo whose mask leaves enough room, OUT gets the
largest upright rectangle that keeps away from the subject and from what is unknown.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.datasets.pairs import find_pairs

GRID = 64  # cells on each side, in which rectangles are looked for
APART = 2  # cells between a background and the subject
SMALLEST = 100  # pixels, the shorter side of a background
LONGEST = 2.5  # times the shorter side


def largest_empty(taken: NDArray[np.bool_], height: int, width: int) -> tuple[int, int, int, int]:
    """Find the largest rectangle of a photo without taken cells.

    Args:
        taken: (GRID, GRID).
        height: The photo's, in pixels.
        width: Likewise.

    Returns:
        Top, bottom, left and right in pixels; all 0 where none is large enough.
    """
    best, found = 0.0, (0, 0, 0, 0)
    for top in range(GRID):
        blocked = np.zeros(GRID, np.bool_)
        for bottom in range(top + 1, GRID + 1):
            blocked |= taken[bottom - 1]
            if blocked.all():
                break
            edges = np.flatnonzero(np.diff(np.concatenate([[1], blocked, [1]]).astype(np.int8)))
            lefts, rights = edges[::2], edges[1::2]
            widest = int(np.argmax(rights - lefts))
            rows = (bottom - top) * height / GRID
            columns = (rights[widest] - lefts[widest]) * width / GRID
            short, long = sorted((rows, float(columns)))
            if short >= SMALLEST and long <= LONGEST * short and rows * columns > best:
                best = rows * columns
                across = (int(c) * width // GRID for c in (lefts[widest], rights[widest]))
                found = (top * height // GRID, bottom * height // GRID, *across)
    return found


def main() -> None:
    """Cut a background from every photo that has one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kernel = np.ones((2 * APART + 1, 2 * APART + 1), np.uint8)
    written = 0
    for pair in find_pairs(arguments.sets):
        mask = cv2.imread(str(pair.mask), cv2.IMREAD_GRAYSCALE)
        small = cv2.resize(
            (mask > 0).astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA
        )
        taken = cv2.dilate((small > 0).astype(np.uint8), kernel) > 0
        top, bottom, left, right = largest_empty(taken, *mask.shape)
        if bottom == 0:
            continue
        photo = cv2.imread(str(pair.image))[top:bottom, left:right]
        name = f"{pair.group}-{pair.image.stem}.jpg"
        cv2.imwrite(str(arguments.out / name), photo, [cv2.IMWRITE_JPEG_QUALITY, 95])
        written += 1
    sys.stdout.write(f"{written} backgrounds\n")


if __name__ == "__main__":
    main()
