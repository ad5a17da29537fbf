"""Which map a photo's subject is taken from, and how good that map probably is."""

from dataclasses import dataclass
from typing import Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut import saliency as maps
from u2cut.options import Matting

Map = NDArray[np.float32]


class Network(Protocol):
    """A predictor of fused maps of photos, RGB (H, W, 3) uint8: a ``Predictor``.

    Attributes:
        doubt: How much of its uncertainty is error (``saliency.confidence``).
        judged: Whether the other network's opinions tell how good its corrected maps are.
    """

    doubt: float
    judged: bool

    def fused_map(self, image: NDArray[np.uint8]) -> Map:
        """Return the fused map, (S, S) float32."""
        ...

    def views(self, image: NDArray[np.uint8]) -> list[Map]:
        """Return the fused maps of other views of the photo, (S, S) float32 each."""
        ...

    def second_view(self, image: NDArray[np.uint8]) -> Map:
        """Return the fused map of one other view, (S, S) float32."""
        ...

    def opinions(self, image: NDArray[np.uint8]) -> list[Map]:
        """Return another network's fused maps of the photo, the usual one first, or none."""
        ...

    def refine(self, image: NDArray[np.uint8], chosen: Map, views: list[Map]) -> Map | None:
        """Return a view corrected, (S, S) float32; None where nothing corrects this network's."""
        ...


@dataclass(frozen=True, slots=True)
class Subject:
    """What was found.

    Attributes:
        saliency: The map, (s, s) float32 in [0, 1], min-max normalised.
        confidence: The expected IoU of its outline with the truth, in [0, 1].
    """

    saliency: Map
    confidence: float


def find(image: NDArray[np.uint8], fused: Map, network: Network, method: Matting) -> Subject | None:
    """Find the subject of a photo.

    Args:
        image: The photo, RGB (H, W, 3) uint8.
        fused: The network's fused map of it, (S, S) float32 probabilities.
        network: Looks again.
        method: "none" takes this map; "fast" looks again where it is unsure, "best" takes the
            best of all views, after asking another network. Both have what they took corrected.

    Returns:
        None if there is no subject.
    """
    first = maps.to_saliency(fused)
    if first is None:
        return None
    if method is Matting.BEST:
        return _best(image, first, network)
    if method is Matting.FAST:
        return _fast(image, first, network)
    return Subject(first, maps.confidence(first, doubt=network.doubt))


def _fast(image: NDArray[np.uint8], first: Map, network: Network) -> Subject:
    chosen, views = first, [first]
    if maps.deserves_second_view(first):
        second = maps.to_saliency(network.second_view(image))
        if second is not None:
            views.append(second)
            chosen = second if maps.is_better_view(second, first) else first
    corrected = _corrected(image, chosen, views, network)
    if corrected is not None:
        return Subject(corrected, maps.corrected_confidence(corrected))
    return Subject(chosen, maps.confidence(chosen, doubt=network.doubt))


def _best(image: NDArray[np.uint8], first: Map, network: Network) -> Subject:
    seen = [first, *map(maps.to_saliency, network.views(image))]
    opinions = [maps.to_saliency(fused) for fused in network.opinions(image)]
    opinion = opinions[0] if opinions else None
    views = [view for view in seen if view is not None]
    surest = maps.surest(views, opinion)
    corrected = _corrected(image, surest, views, network)
    if corrected is not None:
        judges = opinions if network.judged else ()
        return Subject(corrected, maps.corrected_confidence(corrected, judges))
    others = [view for view in seen if view is not surest]
    return Subject(surest, maps.confidence(surest, others, doubt=network.doubt))


def _corrected(
    image: NDArray[np.uint8], chosen: Map, views: list[Map], network: Network
) -> Map | None:
    refined = network.refine(image, chosen, views)
    corrected = None if refined is None else maps.to_saliency(refined)
    return None if corrected is None else _with_sure_parts(corrected, chosen, views)


# Parts of which every view is so sure, and that are so small beside the subject, stay: a lit bulb
# before a white wall. What is larger may be another thing. benchmarks/README.md, "The refiner".
_SURE: Final = 0.9
_SMALL: Final = 0.06
_RIM: Final = 5  # pixels, around which a part's edge is the view's, too


def _with_sure_parts(corrected: Map, chosen: Map, views: list[Map]) -> Map:
    """Give a corrected map back the small parts that all views were sure of."""
    shape = (corrected.shape[0], corrected.shape[1])
    grown = [maps.upsample(view, shape) for view in views]
    lost = (np.min(grown, axis=0) > _SURE) & (corrected < 0.5)
    if not lost.any():
        return corrected
    _, labels, stats, _ = cv2.connectedComponentsWithStats(lost.astype(np.uint8))
    small = stats[:, cv2.CC_STAT_AREA] < _SMALL * np.count_nonzero(grown[0] > 0.5)
    small[0] = False  # what isn't lost
    parts = cv2.dilate(small[labels].astype(np.uint8), np.ones((_RIM, _RIM), np.uint8)) > 0
    view = maps.upsample(chosen, shape)
    return np.where(parts & (view > 0.5), np.maximum(corrected, view), corrected)
