"""How well `confidence` tells which outlines are wrong, and the fit of its constants.

    python benchmarks/confidence.py VALIDATION --model u2netp --model u2net [--step 2]

VALIDATION holds data sets (128 in a mask is unknown). Every photo is seen once, in all views, by
the second network and by the refiner. The constants are fitted on one half of the photos, and
everything else is said of the other.
"""

import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from samples import predictors_and_pairs

from u2cut import saliency, subject
from u2cut.datasets.masks import read_pair
from u2cut.datasets.pairs import Pair
from u2cut.engines.predictor import Predictor

Map = NDArray[np.float32]


class Row(NamedTuple):
    """What a photo's maps say, and the IoU of each with the truth.

    The usual map; the same corrected, and how far it was changed; the one that `best` takes, how
    far the other views are from it, and the second network.
    """

    half: int
    first_doubt: float
    first: float
    corrected_doubt: float
    change: float
    corrected: float
    best_doubt: float
    views_apart: float
    opinions_apart: float
    best: float


def overlap(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | two)
    return np.count_nonzero(one & two) / union if union else 1.0


def measure(predictor: Predictor, pair: Pair) -> Row | None:
    frame, truth = read_pair(pair)
    image, known, wanted = frame.for_network, truth != 128, truth > 128
    seen = [saliency.to_saliency(m) for m in (predictor.fused_map(image), *predictor.views(image))]
    first, views = seen[0], [view for view in seen if view is not None]
    if first is None:
        return None

    def iou(found: Map) -> float:
        return overlap((saliency.upsample(found, known.shape) > 0.5) & known, wanted & known)

    def doubt(found: Map) -> float:
        return min(saliency.uncertainty(found), 1.0)

    opinions = [saliency.to_saliency(m) for m in predictor.opinions(image)]
    surest = saliency.surest(views, opinions[0] if opinions else None)
    others = [view for view in seen if view is not surest]
    one, best = (make(image, first, predictor).saliency for make in (subject._fast, subject._best))
    change = saliency._apart(one, [first])
    apart = [saliency._apart(best, some or [None]) for some in (others, opinions)]
    half = zlib.crc32(f"{pair.group}/{pair.stem}".encode()) % 2
    ious = (iou(first), iou(one), iou(best))
    return Row(
        half, doubt(first), ious[0], doubt(one), change, ious[1], doubt(best), *apart, ious[2]
    )


def fit(features: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fit a logistic function to the IoU, by Gauss and Newton."""
    weights = np.zeros(features.shape[1])
    for _ in range(200):
        guess = 1 / (1 + np.exp(-features @ weights))
        slope = features * (guess * (1 - guess))[:, None]
        damped = slope.T @ slope + 1e-3 * np.eye(len(weights))
        weights += np.linalg.solve(damped, slope.T @ (truth - guess))
    return weights


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.argsort(np.argsort(values)).astype(float)


def report(name: str, guess: NDArray[np.float64], truth: NDArray[np.float64]) -> None:
    spearman = np.corrcoef(ranks(guess), ranks(truth))[0, 1]
    worst = np.argsort(truth)[: max(1, len(truth) // 10)]
    doubtful = set(np.argsort(guess)[: len(guess) // 5].tolist())
    found = np.mean([int(i) in doubtful for i in worst])
    warned = guess < 0.7
    right = (truth[warned] < 0.7).mean() if warned.any() else 0.0
    print(
        f"| {name} | {len(truth)} | {spearman:.2f} | {found:.0%} | {warned.mean():.0%} | "
        f"{right:.0%} |"
    )


# For each way: what the guess is made of, and what it is a guess of.
WAYS: dict[str, tuple[Callable[[Row], list[float]], str]] = {
    "none": (lambda row: [np.sqrt(row.first_doubt)], "first"),
    "fast": (lambda row: [np.sqrt(row.corrected_doubt)], "corrected"),
    "fast, by change": (lambda row: [row.change], "corrected"),
    "best, views": (lambda row: [np.sqrt(row.best_doubt), row.views_apart], "best"),
    "best, asked": (lambda row: [np.sqrt(row.best_doubt), row.opinions_apart], "best"),
}


def main() -> None:
    tables = {
        model: [row for pair in pairs if (row := measure(predictor, pair)) is not None]
        for model, predictor, pairs in predictors_and_pairs(__doc__)
    }
    print("| way | photos | Spearman | worst tenth among the doubtful fifth | below .7 | right |")
    print("|---|---|---|---|---|---|")
    for name, (features, of) in WAYS.items():

        def made(
            rows: list[Row], half: int, features=features, of=of
        ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            chosen = [row for row in rows if row.half == half]
            said = np.array([[1.0, *features(row)] for row in chosen])
            return said, np.array([getattr(row, of) for row in chosen])

        weights = fit(*made([row for rows in tables.values() for row in rows], 0))
        for model, rows in tables.items():
            said, truth = made(rows, 1)
            report(f"{model}, {name}", 1 / (1 + np.exp(-said @ weights)), truth)
        print(f"constants of {name}:", np.round(weights, 2).tolist())


if __name__ == "__main__":
    main()
