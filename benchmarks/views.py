"""Which views of a photo deserve to be taken: IoU and MAE by rule, and what they lose.

    python benchmarks/views.py DATA --model u2netp --model u2net [--step 2]

DATA holds data sets (128 in a mask is unknown). Rules are chosen on photos set aside (lite/aside
of recipes/lite.py), and judged on others (recipes/validation.txt). Means of the sets' means.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from samples import predictors_and_pairs

from u2cut import saliency, subject
from u2cut.datasets.masks import read_pair
from u2cut.datasets.pairs import Pair
from u2cut.engines.predictor import Predictor

SMALLER = 2  # the view at 256; 1 is the mirrored one, 3 that at 224
FAST, BEST = 4, 5  # what these make of the views, corrected


@dataclass
class Seen:
    """A photo's views, the usual one first, then what `fast` and `best` make; how good each is."""

    group: str
    maps: list[NDArray[np.float32]]
    opinion: NDArray[np.float32] | None
    doubts: list[float]
    iou: list[float]
    mae: list[float]


def see(predictor: Predictor, pair: Pair) -> Seen | None:
    frame, truth = read_pair(pair)
    image = frame.for_network
    found = [saliency.to_saliency(m) for m in (predictor.fused_map(image), *predictor.views(image))]
    if found[0] is None:
        return None
    known, wanted = truth != 128, truth > 128
    opinions = [saliency.to_saliency(m) for m in predictor.opinions(image)]
    opinion = opinions[0] if opinions else None
    found += [make(image, found[0], predictor).saliency for make in (subject._fast, subject._best)]
    seen = Seen(pair.group, [], opinion, [], [], [])
    for number, view in enumerate(found):
        filled = view if view is not None else np.zeros((2, 2), np.float32)
        grown = saliency.upsample(filled, (truth.shape[0], truth.shape[1]))
        one, two = (grown > 0.5) & known, wanted & known
        seen.maps.append(filled)
        if number < FAST:
            seen.doubts.append(saliency.uncertainty(filled))
        seen.iou.append(np.count_nonzero(one & two) / max(1, np.count_nonzero(one | two)))
        seen.mae.append(float(np.abs(grown - wanted)[known].mean()))
    return seen


def second(seen: Seen, doubt: float, filling: float) -> int:
    """The rule of ``fast``, with other limits."""
    filled = np.count_nonzero(seen.maps[SMALLER] > 0.5) / seen.maps[SMALLER].size
    asked, surer = seen.doubts[0] > doubt, seen.doubts[SMALLER] < seen.doubts[0]
    return SMALLER if asked and surer and filled > filling else 0


def confirmed(seen: Seen, weight: float) -> int:
    """The rule of ``best``, with another weight."""
    agreement = [saliency._agreement(view, seen.opinion) for view in seen.maps[:FAST]]
    return int(np.argmin(np.array(seen.doubts) - weight * np.array(agreement)))


def rules() -> dict[str, Callable[[Seen], int]]:
    found: dict[str, Callable[[Seen], int]] = {
        "one view": lambda _: 0,
        "fast": lambda _: FAST,
        "best": lambda _: BEST,
        "the surest": lambda seen: int(np.argmin(seen.doubts)),
        "the best possible": lambda seen: int(np.argmax(seen.iou[:FAST])),
    }
    for weight in (0.1, 0.2, saliency._SECONDED, 0.4, 0.6):
        found[f"confirmed, {weight}"] = lambda seen, w=weight: confirmed(seen, w)  # type: ignore[misc]
    for doubt in (0.05, 0.1, 0.2):
        for filling in (0.0, 0.2, 0.3, 0.4):
            name = f"256 if doubt > {doubt}, filling > {filling}"
            found[name] = lambda seen, d=doubt, f=filling: second(seen, d, f)  # type: ignore[misc]
    return found


def report(name: str, rule: Callable[[Seen], int], photos: list[Seen]) -> None:
    groups: dict[str, list[tuple[float, float, float]]] = {}
    for seen in photos:
        k = rule(seen)
        row = (seen.iou[k], seen.mae[k], seen.iou[k] - seen.iou[0])
        groups.setdefault(seen.group, []).append(row)
    means = {group: np.mean(rows, axis=0) for group, rows in groups.items()}
    iou, mae, _ = np.mean(list(means.values()), axis=0)
    worst = min(means, key=lambda group: means[group][2])
    other = np.mean([rule(seen) > 0 for seen in photos])
    lost = f"{Path(worst).name} {means[worst][2]:+.3f}"
    print(f"| {name} | {iou:.4f} | {mae:.4f} | {other:.0%} | {lost} |")


def main() -> None:
    for model, predictor, pairs in predictors_and_pairs(__doc__):
        photos = [seen for pair in pairs if (seen := see(predictor, pair)) is not None]
        print(f"\n{model}, {len(photos)} photos\n")
        print("| view | IoU | MAE | not the first | worst set |")
        print("|---|---|---|---|---|")
        for name, rule in rules().items():
            report(name, rule, photos)


if __name__ == "__main__":
    main()
