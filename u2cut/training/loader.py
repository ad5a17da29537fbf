"""The endless stream of batches: which photo is shown when, and how it reaches the network.

Sample number n of a run is always the same photo changed in the same way. A run that is
resumed, or divided among processes, therefore only needs to know the number it is at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from u2cut.saliency import prepare
from u2cut.training.augment import augment
from u2cut.training.cache import Cache
from u2cut.training.config import TrainConfig

_ORDER, _SAMPLE = 0, 1  # two families of random numbers that never meet


@dataclass(frozen=True)
class Batch:
    """What a step works on.

    Attributes:
        images: Normalised RGB, (B, 3, S, S) float32.
        truth: Mask in [0, 1], (B, 1, S, S) float32.
        known: 1 where the truth is known, (B, 1, S, S) float32.
    """

    images: Tensor
    truth: Tensor
    known: Tensor

    def pin_memory(self) -> "Batch":
        """Move to page-locked memory; the loader calls it for a GPU."""
        return Batch(self.images.pin_memory(), self.truth.pin_memory(), self.known.pin_memory())

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, photos channels-last."""
        return Batch(
            self.images.to(device, non_blocking=True, memory_format=torch.channels_last),
            self.truth.to(device, non_blocking=True),
            self.known.to(device, non_blocking=True),
        )


def epoch_order(seed: int, epoch: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order of an epoch: each photo as often as its weight says, shuffled.

    A weight of 2.3 is two times, and a third time in three epochs of ten. The length is the
    same in every epoch: the rounded sum of the weights.
    """
    rng = np.random.default_rng((seed, _ORDER, epoch))
    length = max(1, round(float(weights.sum())))
    # Systematic sampling: equidistant marks on the cumulated weights, from a random start.
    marks = (np.arange(length) + rng.uniform()) * (weights.sum() / length)
    drawn = np.searchsorted(np.cumsum(weights), marks, side="right")
    return rng.permutation(np.minimum(drawn, len(weights) - 1))


class SampleNumbers(Sampler[list[tuple[int, int]]]):
    """Yields batches of (sample number, photo) for one process, without end.

    Args:
        weights: How often each photo is drawn in an epoch, (N,).
        config: Seed and batch size.
        start: Number of the first sample.
        rank: Which process this is.
        world: How many processes share each batch.
    """

    def __init__(
        self,
        weights: NDArray[np.float64],
        config: TrainConfig,
        *,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._weights, self._seed = weights, config.seed
        self._start, self._batch = start, config.batch_size
        self._share = slice(rank * self._batch // world, (rank + 1) * self._batch // world)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        known_epoch, order = -1, np.empty(0, np.int64)
        for first in count(self._start, self._batch):
            batch = []
            for number in range(first, first + self._batch)[self._share]:
                epoch = number // max(1, round(float(self._weights.sum())))
                if epoch != known_epoch:
                    known_epoch, order = epoch, epoch_order(self._seed, epoch, self._weights)
                batch.append((number, int(order[number % len(order)])))
            yield batch


class Samples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Cached pairs, changed anew for every sample number."""

    def __init__(
        self,
        cache: Cache,
        sources: Sequence[int],
        grounds: Sequence[Cache],
        config: TrainConfig,
    ) -> None:
        self._cache, self._sources, self._grounds = cache, sources, grounds
        self._config, self._paste = config, config.per_folder(config.paste, 0.0)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return photo (3, S, S), truth and known (1, S, S), float32."""
        number, index = key
        cv2.setNumThreads(1)  # the workers are the parallelism
        rng = np.random.default_rng((self._config.seed, _SAMPLE, number))
        ground = None
        if self._grounds and rng.uniform() < self._paste[self._sources[index]]:
            folder = self._grounds[int(rng.integers(len(self._grounds)))]
            ground = folder.photo(int(rng.integers(folder.count)))
        photo, mask, known = augment(
            self._cache.photo(index),
            self._cache.mask(index),
            self._cache.known(index),
            ground=ground,
            config=self._config,
            rng=rng,
        )
        # Where the mask is partly unknown (a border that was resized) it is unknown.
        sure = (known == 255).astype(np.float32)[None]
        return (
            torch.from_numpy(prepare(photo, photo.shape[0])),
            torch.from_numpy(mask.astype(np.float32)[None] / 255),
            torch.from_numpy(sure),
        )


def _collate(samples: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Batch:
    images, truth, known = (torch.stack(part) for part in zip(*samples, strict=True))
    return Batch(images, truth, known)


def batches(
    samples: Samples, numbers: SampleNumbers, *, workers: int, pin_memory: bool
) -> Iterator[Batch]:
    """Prepare batches in worker processes, two ahead for each."""
    loader = DataLoader(
        samples,
        batch_sampler=numbers,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
    )
    return iter(loader)
