"""Metrics that follow from counting: how often each level of the map lies on and off the subject.

One histogram of a photo's map gives MAE, IoU, and precision, recall, Fβ and E-measure at all 256
thresholds, without a pass over the photo for each.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

BETA2: Final = 0.3  # β² of Fβ, which weighs precision over recall (Achanta et al., CVPR 2009)
EPSILON: Final = float(np.spacing(1.0))


@dataclass(frozen=True)
class Levels:
    """A map's 256 grey levels, stretched so that its own least is 0 and its greatest 1.

    A map of one level only is divided by 255 instead. That is ``mapminmax`` of the published
    MATLAB code; the floating-point operations are those of ``pysodmetrics``.

    Attributes:
        low: The level that becomes 0.
        span: How many levels above ``low`` becomes 1.
        values: The stretched value of each level, (256,) float64; in [0, 1] where they occur.
        thresholds: The threshold that each level just reaches, (256,) uint8.
        positive: Whether each level is at least 0.5, (256,) bool.
    """

    low: int
    span: int
    values: NDArray[np.float64]
    thresholds: NDArray[np.uint8]
    positive: NDArray[np.bool_]

    @classmethod
    def of(cls, saliency: NDArray[np.uint8]) -> "Levels":
        """Look at a map, (H, W) uint8."""
        least, greatest = int(saliency.min()), int(saliency.max())
        return cls.between(least, greatest) if greatest > least else cls.between(0, 255)

    @classmethod
    def between(cls, low: int, high: int) -> "Levels":
        """Stretch the levels from ``low`` to ``high``; 0 and 255 leave a map as it is."""
        values = np.arange(256) / 255
        values = (values - values[low]) / (values[high] - values[low])
        thresholds = (np.clip(values, 0, 1) * 255).astype(np.uint8)
        positive = 2 * (np.arange(256) - low) >= high - low  # in integers: exact at one half
        return cls(low, high - low, values, thresholds, positive)


@dataclass(frozen=True)
class Counts:
    """The number of a photo's pixels at each level.

    Attributes:
        inside: Pixels on the subject by the map's level, (256,) int64.
        outside: Pixels off the subject, likewise.
    """

    inside: NDArray[np.int64]
    outside: NDArray[np.int64]


def mean_absolute_error(counts: Counts, levels: Levels) -> float:
    """MAE of a map (Perazzi et al., CVPR 2012), in [0, 1]."""
    wrong = counts.inside @ (1 - levels.values) + counts.outside @ levels.values
    return float(wrong / _pixels(counts))


def intersection_over_union(counts: Counts, levels: Levels) -> float:
    """IoU of the map at 0.5 with the truth; 1 when both are empty."""
    hits = int(counts.inside[levels.positive].sum())
    union = int(counts.inside.sum() + counts.outside[levels.positive].sum())
    return hits / union if union else 1.0


def adaptive_f(counts: Counts, levels: Levels) -> float:
    """Fβ at twice the map's mean (Achanta et al., CVPR 2009); 0 without a hit."""
    mean = float((counts.inside + counts.outside) @ levels.values) / _pixels(counts)
    positive = levels.values >= min(2 * mean, 1.0)
    hits = int(counts.inside[positive].sum())
    if hits == 0:
        return 0.0
    precision = hits / (hits + int(counts.outside[positive].sum()))
    return float(f_beta(precision, hits / int(counts.inside.sum())))


def precision_recall(
    counts: Counts, levels: Levels
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall at the thresholds 255, 254, ... 0.

    Either is 0 where there is nothing to divide by: no pixel reaches the threshold, or the truth
    is empty.

    Returns:
        Two arrays, (256,) float64.
    """
    hits, positives = _reaching(counts, levels)
    subject = max(int(counts.inside.sum()), 1)
    return hits / np.maximum(positives, 1), hits / subject


def e_measure(counts: Counts, levels: Levels) -> NDArray[np.float64]:
    """Enhanced-alignment measure (Fan et al., IJCAI 2018) at the thresholds 255, 254, ... 0.

    Returns:
        (256,) float64, each in [0, 1].
    """
    hits, positives = _reaching(counts, levels)
    size, subject = _pixels(counts), int(counts.inside.sum())
    if subject == 0:
        aligned = (size - positives).astype(np.float64)
    elif subject == size:
        aligned = positives.astype(np.float64)
    else:
        map_mean, truth_mean = positives / size, subject / size
        parts = (
            (1 - map_mean, 1 - truth_mean, hits),
            (1 - map_mean, -truth_mean, positives - hits),
            (-map_mean, 1 - truth_mean, subject - hits),
            (-map_mean, -truth_mean, size - positives - subject + hits),
        )
        aligned = np.zeros(256)
        for in_map, in_truth, pixels in parts:
            alignment = 2 * in_map * in_truth / (in_map**2 + in_truth**2 + EPSILON)
            aligned += (alignment + 1) ** 2 / 4 * pixels
    return np.asarray(aligned / (size - 1 + EPSILON), np.float64)


def f_beta(
    precision: NDArray[np.float64] | float, recall: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """Fβ with β² = 0.3; 0 where precision and recall are both 0."""
    product = np.asarray((1 + BETA2) * precision * recall, np.float64)
    total = BETA2 * np.asarray(precision) + recall
    return np.divide(product, total, out=np.zeros_like(product), where=total > 0)


def _pixels(counts: Counts) -> int:
    return max(int(counts.inside.sum() + counts.outside.sum()), 1)


def _reaching(counts: Counts, levels: Levels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels on the subject, and pixels in all, that reach the thresholds 255, 254, ... 0."""
    hits = np.zeros(256, np.int64)
    misses = np.zeros(256, np.int64)
    np.add.at(hits, levels.thresholds, counts.inside)
    np.add.at(misses, levels.thresholds, counts.outside)
    hits = np.cumsum(hits[::-1])
    return hits, hits + np.cumsum(misses[::-1])
