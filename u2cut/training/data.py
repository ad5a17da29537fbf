"""The photos of a run: found, checked, divided, cached."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from u2cut.console import logger
from u2cut.datasets.pairs import (
    SKIPPING,
    Pair,
    files_by_stem,
    read_names,
    refuse,
    restrict,
    scan,
    scan_folders,
)
from u2cut.errors import DataError
from u2cut.training.cache import VALID, Bytes, Cache, cache_pairs, cache_photos
from u2cut.training.config import TrainConfig
from u2cut.training.distill import Targets, mix, teach

_SPLIT: Final = 2  # a family of random numbers of its own; see loader.py


@dataclass(frozen=True)
class TrainingData:
    """The data of a run.

    Attributes:
        cache: The training pairs, then the photos without masks.
        folders: Which --data folder each is from; the number after theirs without a mask.
        weights: How often an epoch shows each, (N,) float64.
        backgrounds: Photos to put behind subjects.
        val: The validation pairs; may be empty.
        val_sets: The set of each.
        targets: What a teacher saw in each training photo.
    """

    cache: Cache
    folders: list[int]
    weights: NDArray[np.float64]
    backgrounds: list[Cache]
    val: Cache
    val_sets: list[str]
    targets: Targets | None = None

    @property
    def epoch(self) -> int:
        """Samples in an epoch."""
        return max(1, round(float(self.weights.sum())))

    def truth(self, index: int, share: float) -> tuple[Bytes, Bytes]:
        """Return what a training photo's map should be, and 255 where that is known.

        Args:
            index: The photo.
            share: Weight of a teacher's map against the mask.

        Returns:
            (S, S) uint8 each.
        """
        mask, valid = self.cache.mask(index), self.cache.valid(index)
        if self.targets is None or (share == 0 and valid.any()):
            return mask, valid
        return mix(self.targets.target(index), mask, valid, share), np.full_like(valid, VALID)


def load_data(config: TrainConfig, folder: Path, *, quiet: bool = False) -> TrainingData:
    """Find, check, divide and cache.

    Args:
        config: Which data.
        folder: Where the decoded photos go.
        quiet: Show no progress.

    Raises:
        DataError: Files are invalid, all of them named; or none is left.
    """
    found, problems = _find(config)
    held, val_problems = _find_held_back(config, found)
    names = {(i, pair.name) for i, pair in held} if not config.val else set()
    used = [(i, pair) for i, pair in found if (i, pair.name) not in names]

    size, ignore = config.cache_size, config.ignore
    unlabelled = [photo for one in config.unlabelled for photo in _photos(one, "without masks")]
    cache = cache_pairs(
        folder, [p for _, p in used], size, ignore, unlabelled=unlabelled, quiet=quiet
    )
    val = cache_pairs(folder, [p for _, p in held], config.resize, ignore, quiet=quiet)
    backgrounds = [
        cache_photos(folder, _photos(b, "of backgrounds"), size, quiet=quiet)
        for b in config.backgrounds
    ]
    _judge(
        [*problems, *val_problems, *cache.problems, *val.problems]
        + [problem for background in backgrounds for problem in background.problems],
        skip_bad=config.skip_bad,
    )
    times = [*config.for_each_folder(config.data_weight, 1.0), 1.0]
    folders = [used[k][0] if k < len(used) else len(times) - 1 for k in cache.kept]
    weights = np.array(times)[folders]
    if not weights.any():
        raise DataError("no pair of photo and mask is left to train on")
    val_sets = [held[k][1].group for k in val.kept]
    targets = None
    if config.distill != "none":
        shares = [*config.for_each_folder(config.distill_share, 1.0), 1.0]
        wanted = np.array(shares)[folders] > 0
        targets = teach(cache, config.distill, config.device, wanted=wanted, quiet=quiet)
    return TrainingData(cache, folders, weights, backgrounds, val, val_sets, targets)


def _judge(problems: Sequence[str], *, skip_bad: bool) -> None:
    """Name every problem, and refuse them unless they are to be skipped."""
    if not skip_bad:
        refuse(problems, SKIPPING)
    for problem in problems:
        logger.warning("left out: %s", problem)


def _find(config: TrainConfig) -> tuple[list[tuple[int, Pair]], list[str]]:
    """Return the pairs, each with the number of its --data folder, and what can't be paired."""
    if config.images is not None and config.masks is not None:
        scans = [scan_folders(config.images, config.masks)]
    else:
        scans = [scan([folder]) for folder in config.data]
    found = [(i, pair) for i, one in enumerate(scans) for pair in one.pairs]
    return found, [problem for one in scans for problem in one.problems]


def _find_held_back(
    config: TrainConfig, found: Sequence[tuple[int, Pair]]
) -> tuple[list[tuple[int, Pair]], list[str]]:
    """Return the validation pairs: other data, a list's, or a share of each folder."""
    if config.val:
        other = scan(config.val)
        trained = {os.path.realpath(pair.image) for _, pair in found}
        shared = sum(os.path.realpath(pair.image) in trained for pair in other.pairs)
        if shared:
            logger.warning(
                "%d photos of --val are trained on, too: what is measured on them says little",
                shared,
            )
        return [(0, pair) for pair in other.pairs], list(other.problems)
    if config.val_names is not None:
        wanted = restrict((p for _, p in found), read_names(config.val_names))
        names = {pair.name for pair in wanted}
        return [(i, pair) for i, pair in found if pair.name in names], []
    held: list[tuple[int, Pair]] = []
    if config.val_split:
        for folder in sorted({i for i, _ in found}):
            own = [entry for entry in found if entry[0] == folder]
            rng = np.random.default_rng((config.seed, _SPLIT, folder))
            # What was asked for is more than nothing, unless nothing would be left to train on.
            share = round(len(own) * config.val_split) or int(len(own) > 1)
            held += [own[k] for k in sorted(rng.permutation(len(own))[:share])]
    return held, []


def _photos(folder: Path, kind: str) -> list[Path]:
    photos = list(files_by_stem(folder, []).values())
    if not photos:
        raise DataError(f"no photos in this folder {kind}", path=folder)
    return photos
