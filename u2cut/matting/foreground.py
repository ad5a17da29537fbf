"""The subject's own colours, freed from the old background's.

Blur-fusion (Forte, "Approximate Fast Foreground Colour Estimation", ICIP 2021): the colours of
either side are spread over the soft edge, weighted by alpha, and corrected so that both together
explain the photo. Spreading needs no resolution and runs on a small copy; the correction brings
the photo's detail back.
"""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.matting.guided import Array, box_mean, lerp_rows, pixel_centres, resize

_PIXELS: Final = 200_000  # at most so many in the small copy
_SPREADS: Final = (1 / 12, 1 / 40, 1 / 160, 1 / 400)  # radii, of the small copy's long side
_PURITY: Final = 4  # exponent: a pixel gives its colour to the side that owns it
_LOOSE: Final = 0.1  # how far a side's colours may stray to explain the photo
_STRIP: Final = 128  # rows at a time at full resolution


def foreground(image: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Estimate the colours that the subject has under its soft edge.

    Args:
        image: RGB, (H, W, 3) uint8.
        alpha: Straight alpha, (H, W) float32 in [0, 1].

    Returns:
        RGB, (H, W, 3) uint8; the photo's own colours where alpha is 0 or 1.
    """
    colours = image.copy()
    soft = (alpha > 0) & (alpha < 1)
    if not soft.any():
        return colours
    window = _window(soft)
    _fill(image[window], alpha[window], soft[window], colours[window])
    return colours


def _window(soft: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Find the soft edge's box, with an eighth around it to take colours from."""
    slices = []
    for axis in (0, 1):
        hits = np.flatnonzero(soft.any(axis=1 - axis))
        first, last = int(hits[0]), int(hits[-1])
        margin = 8 + (last - first) // 8
        slices.append(slice(max(0, first - margin), last + 1 + margin))
    return slices[0], slices[1]


def _fill(
    photo: NDArray[np.uint8], alpha: Array, soft: NDArray[np.bool_], out: NDArray[np.uint8]
) -> None:
    """Write the subject's colours to ``out`` where alpha is soft, strip by strip."""
    height, width = alpha.shape
    scale = min(1.0, math.sqrt(_PIXELS / alpha.size))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    front, back = _spread(
        np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.float32),
        np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.float32),
    )
    rows = pixel_centres(height, size[1])
    for top in range(0, height, _STRIP):
        strip = slice(top, min(height, top + _STRIP))
        columns = np.flatnonzero(soft[strip].any(axis=0))
        if not len(columns):
            continue
        part = np.s_[strip, int(columns[0]) : int(columns[-1]) + 1]
        shape = strip.stop - strip.start, width
        edge = soft[part]  # of millions of pixels some thousands
        f, b = (
            resize(lerp_rows(side, rows[strip]), shape)[:, part[1]][edge] for side in (front, back)
        )
        f = _explain(photo[part][edge].astype(np.float32), f, b, alpha[part][edge])[0]
        out[part][edge] = np.clip(np.rint(f), 0, 255).astype(np.uint8)


def _spread(photo: Array, alpha: Array) -> tuple[Array, Array]:
    """Spread both sides' colours, from far to near; return them, (h, w, 3) each."""
    front = back = photo
    for share in _SPREADS:
        radius = max(1, round(share * max(alpha.shape)))
        front = _blur(front, alpha**_PURITY, radius)
        back = _blur(back, (1 - alpha) ** _PURITY, radius)
        front, back = _explain(photo, front, back, alpha)
    return front, back


def _blur(colours: Array, weight: Array, radius: int) -> Array:
    """Weighted mean of the colours in each window (equation 4)."""
    weight = weight + np.float32(1e-5)
    return box_mean(colours * weight[..., None], radius) / box_mean(weight, radius)[..., None]


def _explain(photo: Array, front: Array, back: Array, alpha: Array) -> tuple[Array, Array]:
    """Move both sides' colours, as little as need be, until they explain the photo (equation 7)."""
    a = alpha[..., None]
    gap = (photo - back - a * (front - back)) / (a * a + (1 - a) ** 2 + np.float32(_LOOSE))
    return np.clip(front + a * gap, 0, 255), np.clip(back + (1 - a) * gap, 0, 255)
