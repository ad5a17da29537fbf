"""From a coarse saliency map to an alpha matte at the photo's resolution.

The map says where the subject is, the photo where its edge runs. On a small copy of the photo,
what the map leaves open is decided by the colours of the whole subject and of the whole
background; then local colour models learn from the pixels that the map is sure of, and vote on
those it isn't (`colour`), within what the map reaches nearby (`trimap.read_prior`). A guided filter
turns the vote into local functions of colour. These are applied to the photo itself, strip by
strip, wherever alpha isn't sure.

Networks draw outlines within a pixel of the map, so the models learn once: learning again from
their own results only moved right edges (benchmarks/README.md).
"""

import math
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.matting.colour import recognise, separate
from u2cut.matting.guided import Array, apply, guided_filter, lerp_rows, pixel_centres, resize
from u2cut.matting.trimap import SURE, Prior, read_prior

Method = Literal["fast", "best", "none"]

_STRIP: Final = 128  # rows at a time at full resolution
_GUIDE: Final = 2.4  # radius of the guided filter, in units of doubt
_EPSILON: Final = 1e-5  # its variance of colour
_HAZE: Final = 0.06  # what is this near to 0 or 1 becomes 0 or 1
_MODELS: Final = (4.0, 51.2)  # radii of the colour models, in units of doubt
_PIXELS: Final = {"fast": 300_000, "best": 1_200_000}  # at most so many in the small copy


class _ScaledPrior:
    """The prior over a window of the photo.

    Attributes:
        pitch: Pixels of the photo to one of the map.
    """

    def __init__(self, prior: Prior, shape: tuple[int, int], window: tuple[slice, slice]) -> None:
        self._prior = prior
        self._shape = shape
        self._window = window
        self.pitch = math.sqrt(shape[0] * shape[1] / prior.alpha.size)

    def at(self, shape: tuple[int, int]) -> Prior:
        """Sample the window at (height, width); where the map is sure, alpha is bound to it."""
        alpha, floor, ceiling = (
            self._sample(field, shape)
            for field in (self._prior.alpha, self._prior.floor, self._prior.ceiling)
        )
        floor[alpha > 1 - SURE] = 1
        ceiling[alpha < SURE] = 0
        return Prior(alpha, floor, ceiling)

    def _sample(self, field: Array, shape: tuple[int, int]) -> Array:
        """Sample bilinearly at (height, width)."""
        for axis in (0, 1):
            part, full, count = self._window[axis], self._shape[axis], len(field)
            span = (part.stop - part.start) / full * count
            centres = (np.arange(shape[axis]) + 0.5) / shape[axis] * span
            positions = centres + part.start / full * count - 0.5
            field = np.ascontiguousarray(lerp_rows(field, positions).T)
        return np.clip(field, 0, 1)


def alpha_matte(
    image: NDArray[np.uint8], saliency: NDArray[np.float32], method: Method = "fast"
) -> NDArray[np.float32]:
    """Return the photo's alpha matte.

    Args:
        image: RGB, (H, W, 3) uint8.
        saliency: Saliency map of any resolution, (h, w) float32 in [0, 1], over the whole photo.
        method: ``fast``, ``best`` (slower, finer) or ``none`` (the upscaled map itself).

    Returns:
        Straight alpha, (H, W) float32 in [0, 1].
    """
    shape = image.shape[:2]
    if method == "none":
        alpha = resize(saliency, shape)
        return np.clip(alpha, 0, 1, out=None if alpha is saliency else alpha)
    alpha = np.zeros(shape, np.float32)
    prior = read_prior(saliency)
    window = _window(prior.alpha, shape)
    if window is not None:
        scaled = _ScaledPrior(prior, shape, window)
        _refine(image[window], scaled, _PIXELS[method], alpha[window])
    return alpha


def _window(saliency: Array, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Find the part of the photo that may be subject, with an eighth of background around it."""
    possible = saliency >= SURE
    if not possible.any():
        return None
    slices = []
    for axis in (0, 1):
        length = saliency.shape[axis]
        hits = np.flatnonzero(possible.any(axis=1 - axis))
        margin = 4 + (int(hits[-1]) - int(hits[0])) / 8
        start, stop = (int(hits[0]) - margin) / length, (int(hits[-1]) + 1 + margin) / length
        slices.append(
            slice(
                math.floor(max(0.0, start) * shape[axis]), math.ceil(min(1.0, stop) * shape[axis])
            )
        )
    return slices[0], slices[1]


def _refine(photo: NDArray[np.uint8], prior: _ScaledPrior, pixels: int, out: Array) -> None:
    """Write the window's alpha to ``out``, (h, w), deciding on a copy of at most ``pixels``."""
    height, width = photo.shape[:2]
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    unit = max(prior.pitch * scale, max(shape) / 320)
    bounds, colours = prior.at(shape), _shrink(photo, shape)
    known = np.clip(recognise(colours, bounds.alpha), bounds.floor, bounds.ceiling)
    vote = separate(colours, known, tuple(_radius(model, unit) for model in _MODELS))
    target = np.clip(vote, bounds.floor, bounds.ceiling)
    fit = guided_filter(colours, target, _radius(_GUIDE, unit), _EPSILON)
    _render(photo, fit, bounds, out)


def _radius(factor: float, unit: float) -> int:
    return max(1, round(factor * unit))


def _shrink(photo: NDArray[np.uint8], shape: tuple[int, int]) -> Array:
    """Take a small copy of the photo, as colours around zero, (h, w, 3) in [-0.5, 0.5]."""
    if photo.shape[:2] != shape:
        photo = np.asarray(
            cv2.resize(photo, (shape[1], shape[0]), interpolation=cv2.INTER_AREA), np.uint8
        )
    return photo.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5)


def _render(photo: NDArray[np.uint8], coefficients: Array, bounds: Prior, out: Array) -> None:
    """Apply the linear functions to the photo where alpha isn't sure, strip by strip."""
    height, width = out.shape
    rows = pixel_centres(height, len(coefficients))
    for top in range(0, height, _STRIP):
        strip = slice(top, min(height, top + _STRIP))
        shape = strip.stop - strip.start, width
        floor, ceiling = (
            resize(lerp_rows(field, rows[strip]), shape) for field in (bounds.floor, bounds.ceiling)
        )
        out[strip] = floor
        columns = np.flatnonzero((floor < ceiling).any(axis=0))
        if not len(columns):
            continue
        part = slice(int(columns[0]), int(columns[-1]) + 1)
        fit = resize(lerp_rows(coefficients, rows[strip]), shape)[:, part]
        alpha = apply(fit, _shrink(photo[strip, part], (shape[0], part.stop - part.start)))
        alpha = (alpha - _HAZE) / (1 - 2 * _HAZE)
        np.clip(alpha, floor[:, part], ceiling[:, part], out=out[strip, part])
