"""The certain part of a map: background, foreground, and the unknown band between them."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.matting.guided import box_mean, resize

BACKGROUND: Final = 0
UNKNOWN: Final = 128
FOREGROUND: Final = 255

SURE: Final = 0.01  # distance from 0 or 1 that leaves no doubt

_REACH: Final = 1 / 20  # of the map's side: what is grey this far around is a region, no edge
_DECISION: Final = 2
_EDGE: Final = 0.035  # of the map's side: so far from the map's outline an edge may be
_SAMPLES: Final = 320  # of the map's side, enough to find what it reaches
_DENIED: Final = 0.15  # what the map gives less than this all around is no subject
_HOLE: Final = 0.002  # of the map's area: a smaller hole may be the map's mistake
_MENDED: Final = 0.75  # what such a hole becomes; the photo decides
_CERTAIN: Final = 0.9  # a map above this all around has no hole
_DIP: Final = 0.01  # of the map's area: a smaller dip within that is no hole
_INSIDE: Final = 1 / 320  # of the map's side: so far inside of that
_FREE: Final = 0.5  # where it gives more than this somewhere around, the photo decides


@dataclass(frozen=True, slots=True)
class Prior:
    """The values that alpha may have, from the map.

    Attributes:
        alpha: The best guess, (h, w) float32 in [0, 1].
        floor: The least that alpha can be, (h, w) float32 in [0, 1].
        ceiling: The most that it can be, (h, w) float32 in [0, 1].
    """

    alpha: NDArray[np.float32]
    floor: NDArray[np.float32]
    ceiling: NDArray[np.float32]


def read_prior(saliency: NDArray[np.float32]) -> Prior:
    """Read the map: decide wide grey regions, fill small holes, and bound what colours may change.

    A faint map over a whole region is no faint subject, and a map that is nearly sure has no
    holes, whatever the colours there look like: alpha keeps to what the map reaches nearby.

    Args:
        saliency: (h, w) float32 in [0, 1].
    """
    decided = binarise_uncertain(saliency)
    # A wavering region may always turn out to be background, whatever side it was pushed to.
    least, most = 1 - _reached(1 - saliency), _reached(decided)
    floor, ceiling = 1 - _allowed(1 - least), _allowed(most)
    floor = np.maximum(floor, _kept(saliency))
    return Prior(np.clip(fill_small_holes(decided), floor, ceiling), floor, ceiling)


def _kept(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """The least that alpha can be well inside of what the map is sure of, (h, w); 0 elsewhere.

    Colours alone would cut holes there: a cheek in the sun, a shirt like the sky. Near the map's
    outline they may, for that is often beside the subject's.
    """
    inside = max(1, round(max(saliency.shape) * _INSIDE))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * inside + 1, 2 * inside + 1))
    solid = _without_dips(saliency)
    least = np.asarray(cv2.erode(solid, disc), np.float32).reshape(saliency.shape)
    return np.where(least > _CERTAIN, solid, np.float32(0))


def _without_dips(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """Level the small dips in what the map is sure of, which never fall to the background's side.

    An eye or a lit nose makes the map waver for a few pixels, and colours would make a hole of it.
    """
    unsure = (saliency <= _CERTAIN).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(unsure, connectivity=4)
    lowest = np.full(count, np.inf, np.float32)
    np.minimum.at(lowest, labels.ravel().astype(np.intp), saliency.ravel())
    dips = (lowest > 0.5) & (stats[:, cv2.CC_STAT_AREA] <= _DIP * saliency.size)
    dips[0] = False  # what is sure
    return np.where(dips[labels], np.nextafter(np.float32(_CERTAIN), np.float32(1)), saliency)


def _reached(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The most that the map gives within an edge's reach, (h, w); of a large map, from samples."""
    step = max(1, round(max(values.shape) / _SAMPLES))
    most = np.asarray(cv2.dilate(values, np.ones((step, step), np.uint8)), np.float32)
    most = np.ascontiguousarray(most.reshape(values.shape)[step // 2 :: step, step // 2 :: step])
    reach = max(1, round(max(most.shape) * _EDGE))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    soft = cv2.GaussianBlur(cv2.dilate(most, disc), (0, 0), reach / 4)
    return resize(np.asarray(soft, np.float32).reshape(most.shape), values.shape)


def _allowed(most: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much alpha may be where the map reaches ``most`` nearby."""
    return np.clip((most - np.float32(_DENIED)) / np.float32(_FREE - _DENIED), 0, 1)


def binarise_uncertain(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """Push wide grey regions to a side, and leave narrow ones, the edges, as they are.

    Where the network wavers over a whole region, half an alpha would show it as a ghost.

    Args:
        saliency: (h, w) float32 in [0, 1].

    Returns:
        (h, w) float32 in [0, 1].
    """
    p = np.clip(saliency, 1e-4, 1 - 1e-4)
    gain = 1 + _DECISION * _greyness(p, max(1, round(max(p.shape) * _REACH))) ** 4
    odds = (p / (1 - p)) ** gain
    return np.asarray(odds / (1 + odds), np.float32)


def _greyness(saliency: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return the greyness around each pixel, (h, w) in [0, 1]: 1 where the map is 0.5 all over."""
    return np.clip(box_mean(4 * saliency * (1 - saliency), radius), 0, 1)


def fill_small_holes(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """Doubt small holes: what they show may be the subject's or the background's.

    Were they taken at their word, the subject's own colours would count as the background's.

    Args:
        saliency: (h, w) float32 in [0, 1].

    Returns:
        (h, w) float32 in [0, 1], raised in the holes that the subject encloses.
    """
    gaps = (saliency < 0.5).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(gaps, connectivity=4)
    left, top, width, height, area = stats.T
    inside = (
        (left > 0) & (top > 0) & (left + width < gaps.shape[1]) & (top + height < gaps.shape[0])
    )
    small = inside & (area <= _HOLE * saliency.size)
    small[0] = False  # the subject
    reach = max(1, round(max(saliency.shape) / 80))
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    holes = cv2.dilate(small[labels].astype(np.float32), window)
    return np.asarray(np.maximum(saliency, np.float32(_MENDED) * holes), np.float32)


def trimap(
    saliency: NDArray[np.float32], shape: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Sort the pixels into background, unknown and foreground.

    The unknown band is as wide as the map's doubt, whatever the photo's size; outside of it the
    mattes are 0 or 1.

    Args:
        saliency: Saliency map of any resolution, (h, w) float32 in [0, 1].
        shape: (height, width) of the result; None keeps the map's.

    Returns:
        (height, width) uint8: 0 background, 128 unknown, 255 foreground.
    """
    height, width = shape or saliency.shape
    decided = read_prior(saliency).alpha
    # Minimum and maximum around each pixel of the map: its doubt reaches one pixel further.
    low = cv2.resize(cv2.erode(decided, np.ones((3, 3))), (width, height))
    high = cv2.resize(cv2.dilate(decided, np.ones((3, 3))), (width, height))
    regions = np.full((height, width), UNKNOWN, np.uint8)
    regions[np.asarray(low).reshape(regions.shape) > 1 - SURE] = FOREGROUND
    regions[np.asarray(high).reshape(regions.shape) < SURE] = BACKGROUND
    return regions
