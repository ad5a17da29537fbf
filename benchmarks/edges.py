"""What mattes gain and lose against the plain map: by masks, by set, and for the eye.

    python benchmarks/edges.py DATA --model u2netp --model u2net [--step 2]
    python benchmarks/edges.py DATA --model u2net --sheets OUT --photos PHOTOS

DATA holds data sets (128 in a mask is unknown). "Sure holes" are the pixels that the usual map
gives more than .95 and the truth calls subject, and alpha less than .5, of all that the map gives
more than .95; "sure ground" is its mirror. With --sheets, PHOTOS are cut out by each network as
`u2cut remove` does, on white, black, green and a checkerboard, a sheet for each photo.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from samples import predictors_and_pairs

from u2cut import Remover, matting, saliency, subject
from u2cut.datasets.masks import read_pair
from u2cut.datasets.pairs import Pair
from u2cut.evaluation.boundary import boundary_f
from u2cut.matting import Method
from u2cut.options import Matting

METHODS: tuple[Method, ...] = ("none", "fast", "best")
_SHEET = 420  # pixels of a tile


def measure(network: subject.Network, pair: Pair) -> dict[str, list[float]]:
    """IoU, MAE, boundary F, sure holes and sure ground of each method, as `remove` does it."""
    frame, truth = read_pair(pair)
    fused = network.fused_map(frame.for_network)
    seen = saliency.to_saliency(fused)
    if seen is None:
        return {}
    known, wanted = truth != 128, truth > 128
    plain = saliency.upsample(seen, (truth.shape[0], truth.shape[1]))
    sure, ground = plain > 0.95, plain < 0.05
    rows = {}
    for method in METHODS:
        found = subject.find(frame.for_network, fused, network, Matting(method))
        assert found is not None
        alpha = matting.alpha_matte(frame.image, found.saliency, method)
        opaque = alpha > 0.5
        both, either = opaque & wanted & known, (opaque | wanted) & known
        rows[method] = [
            np.count_nonzero(both) / max(1, np.count_nonzero(either)),
            float(np.abs(alpha - wanted)[known].mean()),
            boundary_f(opaque.astype(np.uint8), wanted.astype(np.uint8)),
            100 * np.count_nonzero(sure & wanted & known & (alpha < 0.5)) / max(1, sure.sum()),
            100 * np.count_nonzero(ground & ~wanted & known & opaque) / max(1, ground.sum()),
        ]
    return rows


def report(model: str, rows: dict[str, dict[str, list[list[float]]]]) -> None:
    print(f"\n{model}\n")
    print(
        "| | IoU | MAE | boundary F | sure holes % | sure ground % | worst set, IoU, boundary F |"
    )
    print("|---|---|---|---|---|---|---|")
    means = {
        method: {group: np.mean(found[method], axis=0) for group, found in rows.items()}
        for method in METHODS
    }
    for method in METHODS:
        iou, mae, edge, holes, ground = np.mean(list(means[method].values()), axis=0)
        lost = [
            min((means[method][g][k] - means["none"][g][k], Path(g).name) for g in rows)
            for k in (0, 2)
        ]
        worst = ", ".join(f"{name} {change:+.3f}" for change, name in lost)
        print(
            f"| {method} | {iou:.4f} | {mae:.4f} | {edge:.4f} | {holes:.3f} | {ground:.3f} | "
            f"{worst} |"
        )


def sheets(photos: Path, models: list[str], out: Path) -> None:
    """Write a sheet for each photo: a row for each network and method."""
    out.mkdir(parents=True, exist_ok=True)
    removers = [Remover(model, matting=method) for model in models for method in METHODS]
    for path in sorted(photos.iterdir()):
        rows = []
        for remover in removers:
            cutout = remover.remove(path)
            height, width = cutout.shape
            checks = np.indices((height, width)).sum(0) // 16 % 2 * 80 + 120
            board = np.repeat(checks[..., None], 3, axis=-1).astype(np.uint8)
            tiles = [cutout.composite(ground) for ground in ("white", "black", "#00ff00", board)]
            scale = _SHEET / max(height, width)
            rows.append(np.hstack([_shrunk(tile, scale) for tile in tiles]))
        cv2.imwrite(str(out / f"{path.stem}.png"), np.vstack(rows)[..., ::-1])


def _shrunk(tile: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(tile, None, fx=scale, fy=scale, interpolation=method), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--photos", type=Path)
    own, rest = parser.parse_known_args()
    sys.argv[1:] = rest
    models = []
    for model, predictor, pairs in predictors_and_pairs(__doc__):
        models.append(model)
        rows: dict[str, dict[str, list[list[float]]]] = {}
        for pair in pairs:
            for method, row in measure(predictor, pair).items():
                rows.setdefault(pair.group, {}).setdefault(method, []).append(row)
        report(model, rows)
    if own.sheets and own.photos:
        sheets(own.photos, models, own.sheets)


if __name__ == "__main__":
    main()
