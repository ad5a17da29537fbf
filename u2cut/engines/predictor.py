"""One object that owns the network: photos in, fused maps out."""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2cut import saliency, weights
from u2cut.engines.base import Engine, open_engine
from u2cut.engines.refiner import Refiner
from u2cut.errors import DeviceError
from u2cut.options import Matting, NetworkOptions, Precision, WeightsOptions
from u2cut.weights import registry

_SMALLER = (0.8, 0.7)  # of the usual input size: 256 and 224 beside 320


@dataclass(frozen=True, slots=True)
class Prediction:
    """The network's answer to a photo: its fused map, (S, S) float32, and the seconds."""

    fused: NDArray[np.float32]
    seconds: float


def find_weights(options: WeightsOptions, *, quiet: bool = False) -> weights.LocalWeights:
    """Return the file of weights that the options mean.

    Raises:
        WeightsError: It is not available.
    """
    if options.weights is not None:
        return weights.local(options.weights)
    return weights.find(options.model, offline=options.offline, quiet=quiet)


def _like(options: NetworkOptions, model: str) -> NetworkOptions:
    """Return the options of another network that runs where and how the first one does."""
    precision = options.precision
    if precision == Precision.INT8:  # is calibrated for one network
        precision = Precision.AUTO
    return replace(options, model=model, weights=None, size=None, precision=precision)


class Predictor:
    """Weights found and made ready to run; safe to call from several threads.

    The engine is made ready in the background: meanwhile photos can be read and prepared.

    Args:
        options: Which network, and where it runs.
        quiet: No progress bar while weights are fetched.
        method: Make ready what this needs besides, before it is asked for: "fast" `refine`, "best"
            `views` and `opinions` too.

    Raises:
        WeightsError: The weights are not available.
    """

    def __init__(
        self,
        options: NetworkOptions,
        *,
        quiet: bool = False,
        method: Matting = Matting.NONE,
    ) -> None:
        found = find_weights(options, quiet=quiet)
        self.model, self.doubt, self.judged = found.name, found.doubt, found.judged
        self.size = options.size or found.input_size
        self._batch_size = options.batch_size
        self._turns = threading.Semaphore(0)
        self._open_at = partial(self._open, found.path, options)
        self._process = os.getpid()
        self._others: dict[int, Engine] = {}
        self._opening_others = threading.Lock()
        self._opening_second, self._opening_refiner = threading.Lock(), threading.Lock()
        self._second_name, self._refined, self._options = found.second, found.refined, options
        self._second: Predictor | None = None
        self._refiner: Refiner | None = None
        opener = ThreadPoolExecutor(1, "u2cut engine")
        self._opening = opener.submit(self._first)
        if method is not Matting.NONE:
            opener.submit(self._open_refiner)
        if method is Matting.BEST:
            opener.submit(self._rest)
        opener.shutdown(wait=False)

    @staticmethod
    def _open(path: Path, options: NetworkOptions, size: int) -> Engine:
        return open_engine(
            path,
            engine=options.engine,
            device=options.device,
            precision=options.precision,
            size=size,
        )

    def _first(self) -> Engine:
        engine = self._open_at(self.size)
        self._turns.release(engine.at_once)
        return engine

    def _rest(self) -> None:
        """Open what other views need, and the second network with its own."""
        self._open_smaller()
        if (second := self._second_network()) and self.judged:
            second._open_smaller()

    def _open_smaller(self) -> None:
        for size in self._smaller():
            self._engine_for(size)

    def _engine_for(self, size: int) -> Engine:
        """Return an engine for inputs of another size, opened when first asked for."""
        if self.engine.any_size or size == self.size:
            return self.engine
        with self._opening_others:
            if size not in self._others:
                self._others[size] = self._open_at(size)
            return self._others[size]

    @property
    def engine(self) -> Engine:
        """The engine, as soon as it is ready.

        Raises:
            WeightsError: The weight file holds neither of the two networks.
            DeviceError: The device, engine or precision is not available.
        """
        return self._opening.result()

    @property
    def batch_size(self) -> int:
        """Number of photos that `predict` should be given at once; raises what `engine` raises."""
        engine = self.engine  # even if it isn't asked: its error is the run's, not a photo's
        return self._batch_size or engine.batch_size

    @property
    def at_once(self) -> int:
        """Number of calls of `predict` that do well to overlap."""
        return self.engine.at_once

    def preprocess(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn a photo, RGB (H, W, 3) uint8, into the network's input, (3, S, S) float32."""
        return saliency.preprocess(image, self.size)

    def predict(self, inputs: Sequence[NDArray[np.float32]]) -> list[Prediction]:
        """Return the fused map of each network input.

        Raises:
            DeviceError: This is a forked process, and not the one that made the predictor.
        """
        if not inputs:
            return []
        if os.getpid() != self._process:
            raise DeviceError(
                "this network was made ready in another process, and a forked one can't use it",
                remedy="make a Remover of its own in each process, or start them by 'spawn'",
            )
        engine = self.engine
        with self._turns:
            start = time.perf_counter()
            fused = engine.predict(np.stack(inputs))
            seconds = (time.perf_counter() - start) / len(inputs)
        return [Prediction(f, seconds) for f in fused]

    def views(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Look at one photo, RGB (H, W, 3) uint8, mirrored and at smaller input sizes.

        A subject that fills the frame is often lost at the usual size and seen at a smaller one.

        Returns:
            Fused maps, (S, S) float32 each, S the size of each view.
        """
        return [self._mirrored(image), *(self._view(image, size) for size in self._smaller())]

    def second_view(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Look at one photo, RGB (H, W, 3) uint8, at 0.8 of the input size: the fused map.

        Mirrored instead, where the engine is made for one size.
        """
        sizes = self._smaller()
        return self._view(image, sizes[0]) if sizes else self._mirrored(image)

    def opinions(self, image: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Ask another network, of those in the package, about one photo, RGB (H, W, 3) uint8.

        Returns:
            Its fused maps, (S, S) float32 each: the usual one, then those of its other views if
            they tell how good this network's are. Empty if there is no network to ask.
        """
        second = self._second_network()
        if second is None:
            return []
        return [second.fused_map(image), *(second.views(image) if self.judged else ())]

    def refine(
        self,
        image: NDArray[np.uint8],
        chosen: NDArray[np.float32],
        views: list[NDArray[np.float32]],
    ) -> NDArray[np.float32] | None:
        """Have a view of one photo corrected; see `Refiner.refine`.

        Returns:
            Probabilities, (S, S) float32; None if these weights may look for other things than the
            networks do whose maps the refiner knows.
        """
        refiner = self._open_refiner()
        return None if refiner is None else refiner.refine(image, chosen, views)

    def _open_refiner(self) -> Refiner | None:
        if not self._refined:
            return None
        with self._opening_refiner:
            if self._refiner is None:
                self._refiner = Refiner(_like(self._options, registry.REFINER), self._turns)
            return self._refiner

    def _second_network(self) -> "Predictor | None":
        if self._second_name is None:
            return None
        with self._opening_second:
            if self._second is None:
                self._second = Predictor(_like(self._options, self._second_name))
            return self._second

    def _smaller(self) -> list[int]:
        """Return the smaller input sizes, the largest first."""
        if self.engine.precision == "int8":  # is calibrated for one size
            return []
        sizes = {round(self.size * share / 32) * 32 for share in _SMALLER} - {0, self.size}
        return sorted(sizes, reverse=True)

    def _mirrored(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        mirrored = np.ascontiguousarray(self.preprocess(image)[:, :, ::-1])
        return np.ascontiguousarray(self.predict([mirrored])[0].fused[:, ::-1])

    def _view(self, image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        engine = self._engine_for(size)
        with self._turns:
            fused: NDArray[np.float32] = engine.predict(saliency.preprocess(image, size)[None])[0]
        return fused

    def fused_map(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Look at one photo, RGB (H, W, 3) uint8: the fused map, (S, S) float32."""
        return self.predict([self.preprocess(image)])[0].fused
