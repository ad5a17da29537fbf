"""Draw the sheets of lite.md: validation photos that went well, and ones that failed.

python recipes/sheets.py VALIDATION WEIGHTS OUT

VALIDATION holds SET/images and SET/masks. From each set comes the photo at four fifths of the
way from the worst IoU to the best, and the one at a tenth: photo, truth, cutout. OUT gets
lite-good.jpg and lite-failed.jpg.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from u2cut import Remover
from u2cut.masks import SUBJECT_ABOVE, read_pair
from u2cut.pairs import Pair, find_pairs

RANKS = {"lite-good.jpg": 0.8, "lite-failed.jpg": 0.1}
TILE = 150
COLUMNS = 3


def judged(remover: Remover, pair: Pair) -> tuple[float, Image.Image]:
    """Return the IoU of a photo's alpha and its strip: photo, truth, cutout on a checkerboard."""
    frame, mask = read_pair(pair)
    cutout = remover.remove(pair.image)
    subject, found = mask > SUBJECT_ABOVE, cutout.alpha > 0.5
    iou = (subject & found).sum() / max(1, (subject | found).sum())
    rows, columns = np.indices(mask.shape) // 16
    board = np.where((rows + columns) % 2, 205, 140).astype(np.uint8)[..., None].repeat(3, 2)
    tiles = [frame.image, mask[..., None].repeat(3, 2), cutout.composite(board)]
    strip = Image.new("RGB", (3 * TILE, TILE), "white")
    for k, tile in enumerate(tiles):
        small = Image.fromarray(tile)
        small.thumbnail((TILE - 4, TILE - 4), Image.Resampling.LANCZOS)
        strip.paste(small, (k * TILE, 0))
    return float(iou), strip


def main() -> None:
    """Judge every photo, and draw the two sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("validation", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    remover = Remover(weights=arguments.weights)
    sets: dict[str, list[tuple[float, Image.Image]]] = {}
    for pair in find_pairs([arguments.validation]):
        sets.setdefault(pair.group, []).append(judged(remover, pair))
    for name, rank in RANKS.items():
        strips = []
        for entries in sets.values():
            entries.sort(key=lambda entry: entry[0])
            strips.append(entries[int(rank * len(entries))][1])
        rows = -(-len(strips) // COLUMNS)
        sheet = Image.new("RGB", (COLUMNS * 3 * TILE, rows * TILE), "white")
        for k, strip in enumerate(strips):
            sheet.paste(strip, (k % COLUMNS * 3 * TILE, k // COLUMNS * TILE))
        sheet.save(arguments.out / name, quality=85)


if __name__ == "__main__":
    main()
