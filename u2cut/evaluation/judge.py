"""From pairs to scores: photos are read and maps judged in threads, in order, a few at a time."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.datasets.masks import read_grey, read_pair, read_truth
from u2cut.datasets.pairs import Pair, files_by_stem, refuse
from u2cut.errors import DataError, printable
from u2cut.evaluation.metrics import PhotoScores, score
from u2cut.imaging.composite import eight_bits
from u2cut.imaging.decode import Frame

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A photo's map, (H, W) uint8, and what it is worth."""

    pair: Pair
    saliency: NDArray[np.uint8]
    photo: PhotoScores


@dataclass(frozen=True, slots=True)
class Fault:
    """The reason why a pair can't be judged; the text names the file."""

    reason: str


class Prediction(Protocol):
    """The network's answer to a photo."""

    @property
    def fused(self) -> NDArray[np.float32]:
        """The fused map, (S, S) probabilities."""


class Network(Protocol):
    """The engine that runs the network."""

    @property
    def batch_size(self) -> int:
        """Number of photos that a call should bring."""

    def preprocess(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn a photo, RGB (H, W, 3) uint8, into the network's input, (3, S, S) float32."""

    def predict(self, inputs: Sequence[NDArray[np.float32]]) -> Sequence[Prediction]:
        """Run a batch."""


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    pair: Pair
    truth: NDArray[np.uint8]
    frame: Frame
    network_input: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    photo: _Opened
    fused: NDArray[np.float32]


def judge_network(
    pairs: Iterable[Pair],
    network: Network,
    draw: Callable[[Frame, NDArray[np.float32]], NDArray[np.float32]],
    *,
    ignore: int | None,
    workers: int,
) -> Generator[Judged | Fault]:
    """Let a network make the maps, and judge them.

    Args:
        pairs: Photos and truths; drawn from lazily.
        network: Called in the caller's thread.
        draw: Makes a map, (H, W) float32 in [0, 1], of a photo and its fused map.
        ignore: The truths' level that means "unknown".
        workers: Threads beside the caller's.

    Yields:
        What became of each pair, in their order.
    """

    def open_(pair: Pair) -> _Opened:
        frame, truth = read_pair(pair)
        return _Opened(pair, truth, frame, network.preprocess(frame.for_network))

    def look(photos: Iterator[_Opened | Fault]) -> Iterator[_Seen | Fault]:
        while batch := list(islice(photos, network.batch_size)):
            inputs = [photo.network_input for photo in batch if isinstance(photo, _Opened)]
            prediction = iter(network.predict(inputs))
            for photo in batch:
                yield photo if isinstance(photo, Fault) else _Seen(photo, next(prediction).fused)

    def finish(seen: _Seen | Fault) -> Judged | Fault:
        if isinstance(seen, Fault):
            return seen
        photo = seen.photo
        saliency = eight_bits(draw(photo.frame, seen.fused))
        return Judged(photo.pair, saliency, score(saliency, photo.truth, ignore))

    # While one batch is in the network, the next one is read.
    opened = _in_order(open_, pairs, workers, ahead=max(workers, network.batch_size))
    yield from _in_order(finish, look(opened), workers, ahead=workers)


def judge_folder(
    pairs: Iterable[Pair],
    maps: Sequence[Path],
    *,
    ignore: int | None,
    workers: int,
) -> Generator[Judged | Fault]:
    """Judge maps that lie in files.

    A map of another size than its truth is resized to it, bilinearly.

    Args:
        pairs: Truths; the photos aren't opened.
        maps: The map of each pair.
        ignore: The truths' level that means "unknown".
        workers: Threads beside the caller's.

    Yields:
        What became of each pair, in their order.
    """

    def judge(item: tuple[Pair, Path]) -> Judged:
        pair, path = item
        saliency, truth = read_grey(path), read_truth(pair.mask)
        if saliency.shape != truth.shape:
            saliency = np.asarray(cv2.resize(saliency, truth.shape[::-1]), np.uint8)
        return Judged(pair, saliency, score(saliency, truth, ignore))

    yield from _in_order(judge, zip(pairs, maps, strict=True), workers, ahead=workers)


def find_maps(pairs: Sequence[Pair], folder: Path) -> list[Path]:
    """Find each pair's map by its stem: in ``folder/SET`` if there is such a folder, else in it.

    Raises:
        DataError: Maps are missing or can't be told apart; all of them are named.
    """
    known: dict[Path, dict[str, Path]] = {}
    owners: dict[Path, Pair] = {}
    problems: list[str] = []
    for pair in pairs:
        inner = folder / pair.group
        place = inner if inner.is_dir() else folder
        if place not in known:
            known[place] = files_by_stem(place, problems)
        path = known[place].get(pair.stem)
        if path is None:
            problems.append(f"{printable(pair.image)}: no map in {printable(place)}")
        elif (other := owners.setdefault(path, pair)) is not pair:
            problems.append(
                f"{printable(path)}: the map of {printable(other.name)} or of "
                f"{printable(pair.name)}? put each set's maps into a folder of the set's name"
            )
    refuse(problems)
    return list(owners)


def _in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int, *, ahead: int
) -> Iterator[R | Fault]:
    """Map in threads, in the items' order; a ``DataError`` becomes a ``Fault``.

    Args:
        function: Called in a thread of its own pool.
        items: Drawn from lazily.
        workers: Threads.
        ahead: How many items are under way beside the one that is waited for.
    """

    def settled(future: "Future[R]") -> R | Fault:
        try:
            return future.result()
        except DataError as e:
            return Fault(str(e))

    under_way: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="u2cut")
    try:
        for item in items:
            under_way.append(pool.submit(function, item))
            if len(under_way) > ahead:
                yield settled(under_way.popleft())
        while under_way:
            yield settled(under_way.popleft())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
