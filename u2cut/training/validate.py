"""How good the network is on photos that it never trained on, set by set."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from u2cut.saliency import prepare
from u2cut.training.cache import Cache


def photo_scores(saliency: np.ndarray, mask: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Return IoU at 0.5 and mean absolute error of one map.

    Args:
        saliency: (S, S) float32 in [0, 1].
        mask: (S, S) uint8; above 127 is the subject.
        known: (S, S) bool; the rest is left out.
    """
    truth, found = (mask > 127)[known], (saliency >= 0.5)[known]
    either = float((truth | found).sum())
    iou = float((truth & found).sum()) / either if either else 1.0
    mae = float(np.abs(saliency[known] - truth).mean()) if known.any() else 0.0
    return iou, mae


@torch.no_grad()
def validate(
    network: nn.Module,
    cache: Cache,
    sets: Sequence[str],
    *,
    size: int,
    device: torch.device,
    autocast: torch.autocast,
    batch_size: int,
) -> dict[str, dict[str, float]]:
    """Measure IoU and MAE of the fused map.

    Args:
        network: The network; put into evaluation mode and back.
        cache: The validation pairs, one resolution for all.
        sets: The name of each pair's set.
        size: Side of the network's input in pixels.
        device: Where the network is.
        autocast: The precision.
        batch_size: Photos at a time.

    Returns:
        For each set, and for "all" (the mean over sets, so that a large one doesn't decide),
        ``iou`` and ``mae``.
    """
    training = network.training
    network.eval()
    scores: dict[str, list[tuple[float, float]]] = {}
    for first in range(0, cache.count, batch_size):
        some = range(first, min(first + batch_size, cache.count))
        images = np.stack([prepare(cache.photo(i), size) for i in some])
        with autocast:
            x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
            logits = network(x)[0]
        maps = torch.sigmoid(logits.float())
        maps = torch.nn.functional.interpolate(maps, size=cache.size, mode="bilinear")
        for i, saliency in zip(some, maps[:, 0].cpu().numpy(), strict=True):
            known = cache.known(i) == 255
            scores.setdefault(sets[i], []).append(photo_scores(saliency, cache.mask(i), known))
    network.train(training)
    result = {
        name: dict(zip(("iou", "mae"), np.mean(rows, axis=0).tolist(), strict=True))
        for name, rows in scores.items()
    }
    result["all"] = {
        key: float(np.mean([result[name][key] for name in scores])) for key in ("iou", "mae")
    }
    return result
