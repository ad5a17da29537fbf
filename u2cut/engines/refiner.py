"""A second, small network that corrects a saliency map, given the photo and the map.

U²-Net† with three more input channels: the usual map, the view that was chosen, and the mean of all
views. What it answers is added to the maps: it says by how much they are to be changed
(recipes/refiner.py, weights/refiner.md).
"""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from u2cut import saliency
from u2cut.engines.base import Engine, open_engine
from u2cut.options import NetworkOptions
from u2cut.weights import registry

SIZE: Final = 320  # side of its input, whatever the other network's is
CHANNELS: Final = 6  # as `model.REFINER` has, whose module needs torch
KEPT: Final = 2.8  # how far a map that is all sure moves the logits
_NEARLY: Final = 1e-6  # below it, a probability's logit is no longer exact


def given(chosen: NDArray[np.float32], views: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the three maps that the network is given, (3, SIZE, SIZE) in [0, 1].

    Args:
        chosen: The view that is to be corrected.
        views: Saliency maps of any sizes, (s, s) float32 in [0, 1], the usual view first.
    """
    grown = [saliency.upsample(view, (SIZE, SIZE)) for view in views]
    mean = np.asarray(np.mean(grown, axis=0), np.float32)
    return np.stack([grown[0], saliency.upsample(chosen, (SIZE, SIZE)), mean])


def kept(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the maps' share of the answer, logits of (S, S), of ``given``'s (3, S, S)."""
    return np.asarray(KEPT * (maps[1] + maps[2] - 1), np.float32)


class Refiner:
    """The network, opened in the background; safe to call from several threads.

    Args:
        options: Where and how it runs.
        turns: Held while it computes: those of the network whose maps it corrects, for two at a
            time are slower on a CPU.
    """

    def __init__(self, options: NetworkOptions, turns: threading.Semaphore) -> None:
        self._options, self._turns = options, turns
        opener = ThreadPoolExecutor(1, "u2cut refiner")
        self._opening = opener.submit(self._open)
        opener.shutdown(wait=False)

    def _open(self) -> Engine:
        return open_engine(
            registry.bundled_path(registry.REFINER),
            engine=self._options.engine,
            device=self._options.device,
            precision=self._options.precision,
            size=SIZE,
            channels=CHANNELS,
        )

    def refine(
        self,
        image: NDArray[np.uint8],
        chosen: NDArray[np.float32],
        views: Sequence[NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """Correct a saliency map.

        Args:
            image: The photo, RGB (H, W, 3) uint8.
            chosen: The view that is to be corrected.
            views: Saliency maps of any sizes, (s, s) float32 in [0, 1], the usual view first.

        Returns:
            Probabilities, (SIZE, SIZE) float32 in [0, 1].
        """
        maps = given(chosen, views)
        batch = np.concatenate([saliency.preprocess(image, SIZE), 2 * maps - 1])[None]
        engine = self._opening.result()
        with self._turns:
            answer = engine.predict(batch)[0]
        answer = np.clip(answer, _NEARLY, 1 - _NEARLY)
        logits = np.log(answer / (1 - answer)) + kept(maps)
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
