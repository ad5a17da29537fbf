"""The endless stream of batches: which photo is shown when, and how it reaches the network.

Sample number n of a run is always the same photo changed in the same way. A run that is
resumed, or divided among processes, therefore only needs to know the number it is at.
"""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from u2cut.saliency import preprocess
from u2cut.training.augment import augment
from u2cut.training.cache import VALID
from u2cut.training.config import TrainConfig
from u2cut.training.data import TrainingData

_ORDER: Final = 0  # families of random numbers that never meet
_SAMPLE: Final = 1


@dataclass(frozen=True)
class Batch:
    """The photos of a step.

    Attributes:
        images: Normalised RGB, (B, 3, S, S) float32.
        truth: Mask in [0, 1], (B, 1, S, S) float32.
        valid: 1 where the truth is known, else 0, (B, 1, S, S) float32.
    """

    images: Tensor
    truth: Tensor
    valid: Tensor

    def pin_memory(self) -> "Batch":
        """Move to page-locked memory; the loader calls it for a GPU."""
        return Batch(self.images.pin_memory(), self.truth.pin_memory(), self.valid.pin_memory())

    def to(self, device: torch.device) -> "Batch":
        """Copy to a device, photos channels-last."""
        return Batch(
            self.images.to(device, non_blocking=True, memory_format=torch.channels_last),
            self.truth.to(device, non_blocking=True),
            self.valid.to(device, non_blocking=True),
        )


def epoch_order(seed: int, epoch: int, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order of an epoch: each photo as often as its weight says, shuffled.

    A weight of 2.3 is two times, and a third time in three epochs of ten. The length is the
    same in every epoch: the rounded sum of the weights, at least 1.
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
        weights: How often an epoch shows each photo, (N,).
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
        current, order = 0, epoch_order(self._seed, 0, self._weights)
        for first in count(self._start, self._batch):
            batch = []
            for number in range(first, first + self._batch)[self._share]:
                epoch, place = divmod(number, len(order))
                if epoch != current:
                    current, order = epoch, epoch_order(self._seed, epoch, self._weights)
                batch.append((number, int(order[place])))
            yield batch


class Samples(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Cached pairs, changed anew for every sample number."""

    def __init__(self, data: TrainingData, config: TrainConfig) -> None:
        self._data, self._config = data, config
        # The last is that of the photos without masks.
        self._paste = [*config.for_each_folder(config.paste, 0.0), 0.0]
        self._share = [*config.for_each_folder(config.distill_share, 1.0), 1.0]

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return photo (3, S, S), truth and valid (1, S, S), float32."""
        number, index = key
        data, rng = self._data, np.random.default_rng((self._config.seed, _SAMPLE, number))
        background = None
        if rng.uniform() < self._paste[data.folders[index]]:
            photos = data.backgrounds[int(rng.integers(len(data.backgrounds)))]
            background = photos.photo(int(rng.integers(len(photos))))
        photo, mask, valid = augment(
            data.cache.photo(index),
            *data.truth(index, self._share[data.folders[index]]),
            background=background,
            config=self._config,
            rng=rng,
        )
        sure = valid == VALID  # what is partly unknown, at a border that was resized, is unknown
        return (
            torch.from_numpy(preprocess(photo, photo.shape[0])),
            torch.from_numpy(mask.astype(np.float32)[None] / 255),
            torch.from_numpy(sure.astype(np.float32)[None]),
        )


def batches(
    samples: Samples, numbers: SampleNumbers, *, workers: int, pin_memory: bool
) -> Iterator[Batch]:
    """Prepare batches in worker processes, two ahead for each; without workers, on demand."""
    return iter(
        DataLoader(
            samples,
            batch_sampler=numbers,
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin_memory,
            generator=torch.Generator(),  # it must not draw from the run's
            worker_init_fn=_start_worker if workers else None,
            # A forked worker could inherit a lock that one of OpenCV's threads held.
            multiprocessing_context="spawn" if workers else None,
        )
    )


def _collate(samples: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Batch:
    images, truth, valid = (torch.stack(part) for part in zip(*samples, strict=True))
    return Batch(images, truth, valid)


def _start_worker(_: int) -> None:
    """Leave Ctrl-C to the training process, and the other cores to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    cv2.setNumThreads(1)
