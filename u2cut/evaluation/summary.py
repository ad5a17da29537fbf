"""Means over a data set, and its worst photos, gathered one photo at a time."""

import heapq
from dataclasses import astuple, dataclass, fields
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.datasets.pairs import Pair
from u2cut.evaluation.curves import f_beta
from u2cut.evaluation.judge import Judged
from u2cut.evaluation.matte import MatteScores
from u2cut.evaluation.metrics import PhotoScores, Scores

THUMBNAIL: Final = (300, 200)  # the box, width and height, of a map kept for the sheet


@dataclass(frozen=True, eq=False)
class SetScores:
    """A data set's scores.

    Attributes:
        photos: How many photos they are of.
        max_f: The greatest Fβ over the thresholds, of the mean precision and recall.
        scores: Means over the photos.
        mattes: How many photos count as mattes: if one truth is soft, all with smooth edges.
        matte: Means over those; None without one.
        precision: Mean precision at the thresholds 255, 254, ... 0; (256,) float64.
        recall: Mean recall, likewise.
    """

    photos: int
    max_f: float
    scores: Scores
    mattes: int
    matte: MatteScores | None
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]


class RunningMeans:
    """Running sums of photos' scores: its size doesn't grow with their number."""

    def __init__(self) -> None:
        self._photos = self._mattes = 0
        self._soft = False
        self._precision = np.zeros(256)
        self._recall = np.zeros(256)
        self._scores = np.zeros(len(fields(Scores)))
        self._matte = np.zeros(len(fields(MatteScores)))

    def add(self, photo: PhotoScores) -> None:
        """Count one photo."""
        self._photos += 1
        self._precision += photo.precision
        self._recall += photo.recall
        self._scores += astuple(photo.scores)
        if photo.matte is not None:
            self._mattes += 1
            self._soft |= photo.soft
            self._matte += astuple(photo.matte)

    def join(self, other: "RunningMeans") -> None:
        """Count another set's photos; as mattes only if they count as such there."""
        self._photos += other._photos
        self._precision += other._precision
        self._recall += other._recall
        self._scores += other._scores
        if other._soft:
            self._soft = True
            self._mattes += other._mattes
            self._matte += other._matte

    def means(self) -> SetScores:
        """Return the means over the photos so far; there must be one."""
        precision, recall = self._precision / self._photos, self._recall / self._photos
        return SetScores(
            photos=self._photos,
            max_f=float(f_beta(precision, recall).max()),
            scores=Scores(*(self._scores / self._photos).tolist()),
            mattes=self._mattes if self._soft else 0,
            matte=MatteScores(*(self._matte / self._mattes).tolist()) if self._soft else None,
            precision=precision,
            recall=recall,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Bad:
    """One of the worst photos: its pair, its MAE, and its map at sheet size."""

    pair: Pair
    mae: float
    saliency: NDArray[np.uint8]


class Worst:
    """Keeps the photos with the greatest MAE.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[float, int, Bad]] = []
        self._seen = 0

    def add(self, judged: Judged) -> None:
        """Look at one photo."""
        self._seen += 1
        mae = judged.photo.scores.mae
        if len(self._heap) == self._count and (not self._count or mae <= self._heap[0][0]):
            return
        height, width = judged.saliency.shape
        scale = min(1.0, THUMBNAIL[0] / width, THUMBNAIL[1] / height)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        saliency = cv2.resize(judged.saliency, small, interpolation=cv2.INTER_AREA)
        bad = Bad(judged.pair, mae, np.asarray(saliency, np.uint8))
        heapq.heappush(self._heap, (mae, -self._seen, bad))
        if len(self._heap) > self._count:
            heapq.heappop(self._heap)

    def photos(self) -> list[Bad]:
        """Return them, the worst first."""
        return [bad for *_, bad in sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))]
