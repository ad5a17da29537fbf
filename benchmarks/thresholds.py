"""What each threshold between the network and the file costs: curves over data sets.

    python benchmarks/thresholds.py DATA --model u2net --model u2netp [--step 2]
    python benchmarks/thresholds.py DATA --model u2net --empty BACKGROUNDS

DATA holds data sets (128 in a mask is unknown). BACKGROUNDS is a folder of scenes, most of them
without a subject. Means of the sets' means; alpha is what `--matting fast` makes of the map.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from samples import predictors_and_pairs

from u2cut import matting, saliency
from u2cut.datasets.masks import read_frame, read_pair
from u2cut.datasets.pairs import Pair
from u2cut.engines.predictor import Predictor
from u2cut.imaging import crop
from u2cut.matting import clean
from u2cut.notation import Margin

LEVELS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SHARES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


@dataclass
class Seen:
    """A photo: the fused map's peak, alpha, and the truth."""

    group: str
    peak: float
    alpha: NDArray[np.float32]
    subject: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def iou(self, mask: NDArray[np.bool_]) -> float:
        both, either = mask & self.subject & self.known, (mask | self.subject) & self.known
        return np.count_nonzero(both) / max(1, np.count_nonzero(either))


def see(predictor: Predictor, pair: Pair) -> Seen:
    frame, truth = read_pair(pair)
    fused = predictor.fused_map(frame.for_network)
    alpha = matting.alpha_matte(frame.image, saliency.normalise(fused))
    return Seen(pair.group, float(fused.max()), alpha, truth > 128, truth != 128)


def hard_mask(level: float) -> Callable[[Seen], float]:
    return lambda seen: seen.iou(seen.alpha > level)


def box(level: float) -> Callable[[Seen], float]:
    """IoU of the box that --crop cuts with the subject's own."""

    def overlap(seen: Seen) -> float:
        crop._VISIBLE = level  # the constant that this is about
        found, true = (
            crop.subject_box(alpha.astype(np.float32), Margin(0, False))
            for alpha in (seen.alpha, seen.subject)
        )
        if found is None or true is None:
            return float(found is true)
        inside = [np.zeros(seen.alpha.shape, bool) for _ in range(2)]
        inside[0][found], inside[1][true] = True, True
        return np.count_nonzero(inside[0] & inside[1]) / np.count_nonzero(inside[0] | inside[1])

    return overlap


def cleaned(share: float) -> Callable[[Seen], float]:
    return lambda seen: seen.iou((clean(seen.alpha, share) if share else seen.alpha) > 0.5)


def curve(photos: list[Seen], title: str, made: Callable[[float], Callable[[Seen], float]],
          values: tuple[float, ...]) -> None:  # fmt: skip
    print(f"| {title} | " + " | ".join(f"{value:g}" for value in values) + " |")
    row = []
    for value in values:
        groups: dict[str, list[float]] = {}
        for seen in photos:
            groups.setdefault(seen.group, []).append(made(value)(seen))
        row.append(float(np.mean([np.mean(found) for found in groups.values()])))
    print("|---" * (len(values) + 1) + "|")
    print("| IoU | " + " | ".join(f"{value:.4f}" for value in row) + " |\n")


def peaks(photos: list[Seen], empty: list[float]) -> None:
    """How many subjects and how many empty scenes have a peak below."""
    print("| peak below | " + " | ".join(f"{level:g}" for level in LEVELS) + " |")
    print("|---" * (len(LEVELS) + 1) + "|")
    for name, found in (("subjects", [seen.peak for seen in photos]), ("scenes", empty)):
        shares = (float(np.mean(np.array(found) < level)) for level in LEVELS)
        print(f"| {name} ({len(found)}) | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    print()


def scenes(predictor: Predictor, folder: Path | None) -> Iterator[float]:
    for path in sorted(folder.iterdir()) if folder else ():
        yield float(predictor.fused_map(read_frame(path).for_network).max())


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--empty", type=Path)
    own, sys.argv[1:] = parser.parse_known_args()
    for model, predictor, pairs in predictors_and_pairs(__doc__):
        photos = [see(predictor, pair) for pair in pairs]
        print(f"\n{model}, {len(photos)} photos\n")
        curve(photos, "hard mask, alpha above", hard_mask, LEVELS)
        curve(photos, "box of --crop, alpha above", box, LEVELS)
        curve(photos, "--clean, share of the largest piece", cleaned, SHARES)
        if own.empty:
            peaks(photos, list(scenes(predictor, own.empty)))


if __name__ == "__main__":
    main()
