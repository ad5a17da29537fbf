"""From a photo to the network's input, and from the fused map to a saliency map.

The published pipeline (xuebinqin/U-2-Net, u2net_test.py and data_loader.py): squash the RGB
photo to 320×320, divide by its maximum, normalise with ImageNet's mean and deviation; then
min-max the fused map and resize it bilinearly to the photo's size.
"""

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

MEAN: Final = np.array([0.485, 0.456, 0.406], dtype=np.float32)
NEAR: Final = 4  # areas are averaged down to this many times the network's input
STD: Final = np.array([0.229, 0.224, 0.225], dtype=np.float32)


def shrink(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Squash a photo to ``size``×``size``, its aspect ignored, anti-aliased and bilinear.

    What scikit-image's ``resize`` (the authors' choice) does since 0.15: along an axis that
    shrinks by the factor f, a Gaussian of σ = (f - 1) / 2 goes before the bilinear samples. Most
    of that is done by averaging whole areas first, which is many times faster.

    Args:
        image: RGB, (H, W, 3) uint8.
        size: Side of the network's input in pixels.

    Returns:
        RGB, (size, size, 3) float32 in 0 .. 255.
    """
    height, width = image.shape[:2]
    near = (min(width, NEAR * size), min(height, NEAR * size))
    small = image
    if near != (width, height):
        small = np.asarray(cv2.resize(image, near, interpolation=cv2.INTER_AREA), np.uint8)
    sigma_x, sigma_y = (
        _rest_of_sigma(full, reduced, size)
        for full, reduced in zip((width, height), near, strict=True)
    )
    smooth = small.astype(np.float32)
    if sigma_x or sigma_y:
        smooth = np.asarray(
            cv2.sepFilter2D(smooth, -1, _gaussian(sigma_x), _gaussian(sigma_y)), np.float32
        )
    if smooth.shape[:2] != (size, size):
        smooth = np.asarray(
            cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR), np.float32
        )
    return smooth


def _gaussian(sigma: float) -> NDArray[np.float64]:
    """A kernel out to 4 σ; a single 1 for σ = 0, which cv2 takes for "choose one"."""
    return np.asarray(cv2.getGaussianKernel(2 * round(4 * sigma) + 1, max(sigma, 1e-6)), np.float64)


def _rest_of_sigma(full: int, reduced: int, size: int) -> float:
    """The σ still missing, in pixels of an axis averaged from ``full`` to ``reduced`` pixels."""
    whole = max(0.0, (full / size - 1) / 2)
    k = full / reduced
    done = (k * k - 1) / 12  # variance of a box of k pixels
    return math.sqrt(max(0.0, whole * whole - done)) / k


def preprocess(image: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Turn a photo into the network's input.

    Args:
        image: RGB, (H, W, 3) uint8.
        size: Side of the network's input in pixels.

    Returns:
        Normalised RGB, (3, size, size) float32, C-contiguous.
    """
    small = shrink(image, size)
    peak = float(small.max())
    if peak > 0:
        small /= peak
    small -= MEAN
    small /= STD
    return np.ascontiguousarray(small.transpose(2, 0, 1))


# A network that sees a subject is sure of it somewhere; below this, min-max would only
# stretch noise to full contrast.
SUBJECT_PEAK: Final = 0.3
_FLAT: Final = 1e-6


def normalise(fused: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stretch a fused map to [0, 1], as the authors do; a flat map becomes all 0.

    Args:
        fused: Probabilities, (s, s) float32 in [0, 1].

    Returns:
        Saliency map, (s, s) float32 in [0, 1].
    """
    low, high = float(fused.min()), float(fused.max())
    if high - low < _FLAT:
        return np.zeros_like(fused)
    return (fused - low) / (high - low)


def to_saliency(fused: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Turn a fused map into a saliency map, unless the photo has no subject.

    Args:
        fused: Probabilities, (s, s) float32 in [0, 1].

    Returns:
        Saliency map, (s, s) float32 in [0, 1], min-max normalised; None without a subject.
    """
    if float(fused.max()) < SUBJECT_PEAK:
        return None
    return normalise(fused)


def uncertainty(saliency: NDArray[np.float32]) -> float:
    """Return the sum of min(m, 1 - m), for each pixel of the subject; infinite without one.

    Args:
        saliency: Map m, (s, s) float32 in [0, 1].
    """
    area = np.count_nonzero(saliency > 0.5)
    return float(np.minimum(saliency, 1 - saliency).sum()) / area if area else math.inf


_SECONDED: Final = 0.3  # of uncertainty, that a view's full agreement makes up; benchmarks/views.py


def surest(
    views: Sequence[NDArray[np.float32]], opinion: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """Return the view of a photo that is least uncertain and most like another network's map.

    One network's views may all be sure, and of different things: another network, whose errors
    are others, then tells which is meant.

    Args:
        views: Saliency maps of any sizes, (s, s) float32 in [0, 1], the usual view first.
        opinion: The other network's map; None if it sees no subject, or if none was asked.
    """
    return min(views, key=lambda view: uncertainty(view) - _SECONDED * _agreement(view, opinion))


# What deserves a second view, and the share of the photo that the subject fills in one that
# counts: a smaller input shows what fills the frame, and loses what is small. benchmarks/views.py.
_DOUBTFUL: Final = 0.1
_FILLING: Final = 0.3


def deserves_second_view(saliency: NDArray[np.float32]) -> bool:
    """Tell whether a map is so unsure that another view may be better, (s, s) in [0, 1]."""
    return uncertainty(saliency) > _DOUBTFUL


def is_better_view(second: NDArray[np.float32], first: NDArray[np.float32]) -> bool:
    """Tell whether the map of a smaller input is surer, of a subject that fills the frame."""
    filled = np.count_nonzero(second > 0.5) / second.size
    return bool(filled > _FILLING) and uncertainty(second) < uncertainty(first)


# Logistic fits of the IoU with the truth; benchmarks/confidence.py.
_ONE_VIEW: Final = (2.72, -5.18)
_VIEWS: Final = (3.16, -4.58, -2.70)
_CORRECTED: Final = (3.06, -6.16)
_OPINIONS: Final = (3.04, -2.70, -2.72)


def confidence(
    chosen: NDArray[np.float32],
    others: Sequence[NDArray[np.float32] | None] = (),
    *,
    doubt: float = 1.0,
) -> float:
    """Return how good a network's map probably is: its expected IoU with the truth, in [0, 1].

    From its uncertainty and, where there are other views, from how far these disagree with it.

    Args:
        chosen: The saliency map, (s, s) float32 in [0, 1].
        others: The other views' maps, of any sizes; None for one without a subject.
        doubt: How much of this network's uncertainty is error, against the authors' networks.
    """
    return _expected(_ONE_VIEW, _VIEWS, chosen, others, doubt)


def corrected_confidence(
    chosen: NDArray[np.float32], opinions: Sequence[NDArray[np.float32] | None] = ()
) -> float:
    """Return how good a map probably is that the refiner made, as `confidence` does.

    The refiner's uncertainty tells more than the network's own, and the same for every network.

    Args:
        chosen: The saliency map, (s, s) float32 in [0, 1].
        opinions: Another network's maps of the photo, where it was asked; None for no subject.
    """
    return _expected(_CORRECTED, _OPINIONS, chosen, opinions, 1.0)


def _expected(
    alone: tuple[float, float],
    beside: tuple[float, float, float],
    chosen: NDArray[np.float32],
    others: Sequence[NDArray[np.float32] | None],
    doubt: float,
) -> float:
    unsure = math.sqrt(min(doubt * uncertainty(chosen), 1.0))
    if not others:
        constant, per_doubt = alone
        return _logistic(constant + per_doubt * unsure)
    constant, per_doubt, per_disagreement = beside
    apart = _apart(chosen, others)
    return _logistic(constant + per_doubt * unsure + per_disagreement * apart)


def _apart(chosen: NDArray[np.float32], others: Sequence[NDArray[np.float32] | None]) -> float:
    """Return how far other maps disagree with one, in [0, 1]."""
    return math.sqrt(float(np.mean([1 - _agreement(chosen, other) for other in others])))


def _agreement(chosen: NDArray[np.float32], other: NDArray[np.float32] | None) -> float:
    """Return the IoU of two maps' subjects."""
    if other is None:
        return 0.0
    one, two = chosen > 0.5, upsample(other, (chosen.shape[0], chosen.shape[1])) > 0.5
    union = np.count_nonzero(one | two)
    return np.count_nonzero(one & two) / union if union else 1.0


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def upsample(saliency: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a saliency map bilinearly to (height, width)."""
    if saliency.shape == shape:
        return saliency
    grown = cv2.resize(saliency, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, np.float32)
