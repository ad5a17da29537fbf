"""The photos of a run: found, checked, divided, cached."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2cut.errors import DataError
from u2cut.stdio import printable
from u2cut.training.cache import Cache, build_cache
from u2cut.training.config import TrainConfig
from u2cut.training.loader import Samples
from u2cut.training.pairs import (
    SUFFIXES,
    Fault,
    Pair,
    check_pairs,
    find_folders,
    find_pairs,
    find_fault,
)
from u2cut.training.team import Team


@dataclass(frozen=True)
class TrainingData:
    """What a run is fed with.

    Attributes:
        samples: The training pairs.
        weights: How often each is drawn in an epoch, (N,) float64.
        val: The validation pairs; None without any.
        val_sets: The set of each.
    """

    samples: Samples
    weights: NDArray[np.float64]
    val: Cache | None
    val_sets: list[str]

    @property
    def length(self) -> int:
        """Samples in an epoch."""
        return max(1, round(float(self.weights.sum())))


def load_data(config: TrainConfig, team: Team) -> TrainingData:
    """Find, check and cache; process 0 does the work, the others find it done.

    Raises:
        DataError: The data is at fault.
    """
    if not team.leads:
        team.wait()
    pairs, val = _checked(config)
    folder = config.cache or config.out / "cache"
    cache = build_cache(
        folder, pairs, config.cache_size, ignore_value=config.ignore_value, label="decoding"
    )
    grounds = [
        build_cache(folder, _photos(p), config.cache_size, label="backgrounds")
        for p in config.backgrounds
    ]
    held = (
        build_cache(folder, val, config.resize, ignore_value=config.ignore_value, label="validation")
        if val
        else None
    )
    if team.leads:
        team.wait()
    weights = np.array(config.per_folder(config.data_weight, 1.0))
    return TrainingData(
        Samples(cache, [p.source for p in pairs], grounds, config),
        weights[[p.source for p in pairs]],
        held,
        [_set_name(config, p) for p in val],
    )


def _checked(config: TrainConfig) -> tuple[list[Pair], list[Pair]]:
    """Return training and validation pairs without fault."""
    pairs, faults = _find(config.data, config)
    val, val_faults = _find(config.val, None)
    sound = check_pairs(
        [*pairs, *val],
        [*faults, *val_faults],
        ignore_value=config.ignore_value,
        skip_bad=config.skip_bad,
        report=config.out / "data-faults.txt",
    )
    kept = set(map(id, sound))
    pairs, val = [p for p in pairs if id(p) in kept], [p for p in val if id(p) in kept]
    if config.val_split:
        pairs, val = _split(pairs, config)
    if not pairs:
        raise DataError("no pair of photo and mask is left to train on")
    return pairs, val


def _split(pairs: list[Pair], config: TrainConfig) -> tuple[list[Pair], list[Pair]]:
    """Hold back the same share of every folder, drawn by the seed."""
    held: set[int] = set()
    for source in sorted({p.source for p in pairs}):
        own = [i for i, p in enumerate(pairs) if p.source == source]
        count = round(len(own) * config.val_split)
        rng = np.random.default_rng((config.seed, 2, source))
        held.update(rng.permutation(own)[:count].tolist())
    return (
        [p for i, p in enumerate(pairs) if i not in held],
        [p for i, p in enumerate(pairs) if i in held],
    )


def _find(
    folders: tuple[Path, ...], config: TrainConfig | None
) -> tuple[list[Pair], list[Fault]]:
    pairs: list[Pair] = []
    faults: list[Fault] = []
    places = [find_folders(folder) for folder in folders]
    if config and config.images and config.masks:
        places = [(config.images, config.masks)]
    for source, (images, masks) in enumerate(places):
        some, wrong = find_pairs(images, masks, source)
        pairs += some
        faults += wrong
    return pairs, faults


def _photos(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{printable(folder)}: no such folder of backgrounds")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{printable(folder)}: no photos in it")
    return found


def _set_name(config: TrainConfig, pair: Pair) -> str:
    folders = config.val or config.data
    return folders[pair.source].name if folders else "val"
