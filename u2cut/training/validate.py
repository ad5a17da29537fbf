"""Scores on photos that were never trained on, set by set, and a sheet to see them."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from u2cut.datasets.masks import SUBJECT_ABOVE
from u2cut.evaluation.curves import (
    Counts,
    Levels,
    intersection_over_union,
    mean_absolute_error,
)
from u2cut.imaging.composite import eight_bits
from u2cut.saliency import preprocess
from u2cut.training.cache import Cache
from u2cut.training.checkpoint import write

Measures = dict[str, dict[str, float]]
ALL = "all"
_CELL: Final = 128  # pixels
_HEADINGS: Final = ("photo", "truth", "fused", *(f"side {k}" for k in range(1, 7)))
_AS_IT_IS = Levels.between(0, 255)


def photo_scores(
    saliency: NDArray[np.float32], mask: NDArray[np.uint8], valid: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return the intersection over union at 0.5 and the mean absolute error of one map.

    They are those of ``u2cut eval``, but for its stretching each map to its own least and greatest
    value: that would hide from a run how sure its network is.

    Args:
        saliency: (S, S) float32 in [0, 1].
        mask: (S, S) uint8; above 127 is the subject.
        valid: (S, S); what is False is left out.
    """
    levels, subject = eight_bits(saliency), mask > SUBJECT_ABOVE
    counts = Counts(
        inside=np.bincount(levels[valid & subject], minlength=256),
        outside=np.bincount(levels[valid & ~subject], minlength=256),
    )
    return intersection_over_union(counts, _AS_IT_IS), mean_absolute_error(counts, _AS_IT_IS)


@torch.no_grad()
def predict(
    network: nn.Module,
    cache: Cache,
    some: Sequence[int],
    *,
    size: int,
    device: torch.device,
    autocast: AbstractContextManager[object],
) -> NDArray[np.float32]:
    """Return the fused map and the side outputs of cached photos, (B, 7, S, S) in [0, 1].

    Args:
        network: The network, in evaluation mode.
        cache: The photos.
        some: Which of them.
        size: Side of the network's input in pixels.
        device: Where the network is.
        autocast: The precision.
    """
    images = torch.from_numpy(np.stack([preprocess(cache.photo(i), size) for i in some]))
    with autocast:
        outputs: tuple[Tensor, ...] = network(images.to(device, memory_format=torch.channels_last))
    maps = torch.sigmoid(torch.cat(outputs, dim=1).float())
    if maps.shape[-1] != cache.size:
        maps = nn.functional.interpolate(maps, size=cache.size, mode="bilinear")
    result: NDArray[np.float32] = maps.cpu().numpy()
    return result


def summarise(scores: Sequence[tuple[float, float]], sets: Sequence[str]) -> Measures:
    """Average the photos' scores.

    Args:
        scores: IoU and MAE of each photo.
        sets: The set of each.

    Returns:
        IoU and MAE ("iou", "mae") of each set; and of "all", which is the mean over the sets,
        so that a large one does not decide.
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    for score, name in zip(scores, sets, strict=True):
        rows.setdefault(name, []).append(score)
    means = {name: np.mean(own, axis=0) for name, own in rows.items()}
    means[ALL] = np.mean(list(means.values()), axis=0)
    return {name: {"iou": float(iou), "mae": float(mae)} for name, (iou, mae) in means.items()}


def draw_sheet(path: Path, cache: Cache, maps: NDArray[np.float32], step: int) -> None:
    """Write a PNG with a row for each of the first photos: photo, truth, the seven maps.

    Args:
        path: The PNG.
        cache: The photos and masks.
        maps: Fused map and side outputs of the first B photos, (B, 7, S, S) in [0, 1].
        step: Optimiser steps done; stands in the heading.
    """
    heading = np.full((20, _CELL * len(_HEADINGS), 3), 255, np.uint8)
    for k, text in enumerate((f"photo, step {step}", *_HEADINGS[1:])):
        place = (k * _CELL + 4, 14)
        cv2.putText(heading, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    rows = [heading]
    for i, outputs in enumerate(maps):
        greys = [cache.mask(i), *(outputs * 255 + 0.5).astype(np.uint8)]
        cells = [cache.photo(i), *(np.repeat(grey[:, :, None], 3, axis=2) for grey in greys)]
        small = [cv2.resize(c, (_CELL, _CELL), interpolation=cv2.INTER_AREA) for c in cells]
        rows.append(np.concatenate(small, axis=1))
    sheet = np.concatenate(rows)[:, :, ::-1]
    data = cv2.imencode(".png", sheet)[1].tobytes()
    write(path, data)
