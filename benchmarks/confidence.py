"""How well `confidence` tells which outlines are wrong, and the fit of its constants.

    python benchmarks/confidence.py VALIDATION --model u2netp --model u2net [--step 2]

VALIDATION holds data sets (128 in a mask is unknown). Every photo is seen once, in all views, and
by the second network. The constants are fitted on one half of the photos, and everything else is
said of the other.
"""

import zlib

import numpy as np
from numpy.typing import NDArray
from samples import predictors_and_pairs

from u2cut import saliency
from u2cut.datasets.masks import read_pair
from u2cut.datasets.pairs import Pair
from u2cut.engines.predictor import Predictor

Rows = list[tuple[int, float, float, float, float, float, float]]


def overlap(one: NDArray[np.bool_], two: NDArray[np.bool_]) -> float:
    union = np.count_nonzero(one | two)
    return np.count_nonzero(one & two) / union if union else 1.0


def measure(predictor: Predictor, pairs: list[Pair]) -> Rows:
    """Return for each photo a row of numbers.

    Its half; the first view's doubt and IoU; the surest view's doubt, the disagreement of the
    others and of the second network with it, and its IoU.
    """
    rows: Rows = []
    for pair in pairs:
        frame, truth = read_pair(pair)
        fused = [predictor.fused_map(frame.for_network), *predictor.views(frame.for_network)]
        maps = [m for m in map(saliency.to_saliency, fused) if m is not None]
        if saliency.to_saliency(fused[0]) is None:
            continue
        known, subject = truth != 128, truth > 128

        def iou(found: NDArray[np.float32], known=known, subject=subject) -> float:
            return overlap((saliency.upsample(found, known.shape) > 0.5) & known, subject & known)

        opinions = [saliency.to_saliency(m) for m in predictor.opinions(frame.for_network)]
        surest = saliency.surest(maps, opinions[0] if opinions else None)
        others = [m for m in maps if m is not surest]
        apart = [saliency._apart(surest, some or [None]) ** 2 for some in (others, opinions)]
        doubts = [min(saliency.uncertainty(m), 1.0) for m in (maps[0], surest)]
        half = zlib.crc32(f"{pair.group}/{pair.stem}".encode()) % 2
        row = (half, doubts[0], iou(maps[0]), doubts[1], apart[0], apart[1], iou(surest))
        rows.append(row)
    return rows


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


def main() -> None:
    tables = {
        model: np.array(measure(predictor, pairs), np.float64)
        for model, predictor, pairs in predictors_and_pairs(__doc__)
    }
    everything = np.concatenate(list(tables.values()))

    def one_view(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.ones(len(t)), np.sqrt(t[:, 1])], axis=1)

    def views(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.ones(len(t)), np.sqrt(t[:, 3]), np.sqrt(t[:, 4])], axis=1)

    def asked(t: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([np.ones(len(t)), np.sqrt(t[:, 5])], axis=1)

    tuning = everything[everything[:, 0] == 0]
    print("| views | photos | Spearman | worst tenth among the doubtful fifth | below .7 | right |")
    print("|---|---|---|---|---|---|")
    for name, features, truth in (("one", one_view, 2), ("all", views, 6), ("asked", asked, 6)):
        weights = fit(features(tuning), tuning[:, truth])
        for model, table in tables.items():
            judged = table[table[:, 0] == 1]
            guess = 1 / (1 + np.exp(-features(judged) @ weights))
            report(f"{model}, {name}", guess, judged[:, truth])
        print(f"constants of {name}:", np.round(weights, 2).tolist())


if __name__ == "__main__":
    main()
