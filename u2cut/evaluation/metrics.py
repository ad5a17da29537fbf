"""A photo's scores, and their means over a data set."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.datasets.masks import SUBJECT_ABOVE
from u2cut.evaluation import curves
from u2cut.evaluation.boundary import boundary_f
from u2cut.evaluation.matte import MatteScores, is_smooth, is_soft, matte_scores
from u2cut.evaluation.structure import quadrant_counts, s_measure
from u2cut.evaluation.weighted import weighted_f


@dataclass(frozen=True)
class Scores:
    """Scores of one photo's map, or their means over a data set.

    Attributes:
        mae: Mean absolute error; less is better.
        weighted_f: Weighted Fβ, β² = 1.
        s_measure: S-measure, α = 0.5.
        boundary_f: Relaxed boundary Fβ, β² = 0.3, ρ = 3.
        mean_f: Fβ, β² = 0.3, averaged over the thresholds.
        adaptive_f: Fβ at twice the map's mean.
        e_measure: E-measure, averaged over the thresholds.
        iou: Intersection over union at 0.5.
    """

    mae: float
    weighted_f: float
    s_measure: float
    boundary_f: float
    mean_f: float
    adaptive_f: float
    e_measure: float
    iou: float


@dataclass(frozen=True, eq=False)
class PhotoScores:
    """All that is known of one photo's map.

    Attributes:
        scores: One number a metric.
        precision: At the thresholds 255, 254, ... 0; (256,) float64.
        recall: Likewise.
        matte: Scores against a truth with smooth edges; None if they are hard.
        soft: Whether the truth is an alpha matte, and not just a mask with smooth edges.
    """

    scores: Scores
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    matte: MatteScores | None
    soft: bool


def score(
    saliency: NDArray[np.uint8], truth: NDArray[np.uint8], ignore: int | None = None
) -> PhotoScores:
    """Score one map.

    The truth's levels above 127 are the subject. The map is stretched to [0, 1] first, as the
    published code and ``pysodmetrics`` do; only the matte's scores take it as it is.

    Args:
        saliency: The map, (H, W) uint8.
        truth: The truth, (H, W) uint8.
        ignore: The truth's level that means "unknown". Such pixels are not counted; the metrics
            that look at neighbours (weighted Fβ, boundary Fβ) see neither subject nor error there,
            so that an outline within them is never wrong. There are no matte's scores then.
    """
    valid = None if ignore is None else (truth != ignore).astype(np.uint8)
    subject = (truth > SUBJECT_ABOVE).astype(np.uint8)
    if valid is not None:
        subject &= valid
    levels = curves.Levels.of(saliency)
    quadrants = quadrant_counts(saliency, subject, valid)
    counts = curves.Counts(
        inside=np.sum([q.inside for q in quadrants], axis=0),
        outside=np.sum([q.outside for q in quadrants], axis=0),
    )
    values = cv2.LUT(saliency, levels.values.astype(np.float32))
    error = np.asarray(cv2.absdiff(values, subject.astype(np.float32)), np.float32)
    positive = np.asarray(cv2.LUT(saliency, levels.positive.astype(np.uint8)), np.uint8)
    if valid is not None:
        error *= valid
        positive &= valid
    precision, recall = curves.precision_recall(counts, levels)
    scores = Scores(
        mae=curves.mean_absolute_error(counts, levels),
        weighted_f=weighted_f(error, subject),
        s_measure=s_measure(quadrants, levels),
        boundary_f=boundary_f(positive, subject),
        mean_f=float(curves.f_beta(precision, recall).mean()),
        adaptive_f=curves.adaptive_f(counts, levels),
        e_measure=float(curves.e_measure(counts, levels).mean()),
        iou=curves.intersection_over_union(counts, levels),
    )
    smooth = valid is None and is_smooth(truth)
    return PhotoScores(
        scores,
        precision,
        recall,
        matte=matte_scores(saliency, truth) if smooth else None,
        soft=smooth and is_soft(truth),
    )
