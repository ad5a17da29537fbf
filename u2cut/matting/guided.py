"""Alpha as a local linear function of colour: alpha = r·R + g·G + b·B + c.

Such functions are fields of coefficients, (h, w, 4) float32. They vary slowly, so they can be
fitted on a small copy of the photo and then applied at its full resolution (He and Sun, "Fast
Guided Filter", arXiv:1505.00996).
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_PAIRS: Final = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_DIAGONAL: Final = (0, 3, 5)


def box_mean(values: Array, radius: int) -> Array:
    """Mean over (2·radius + 1)² windows, mirrored at the borders; any number of channels.

    A window reaches no further than the image is long: more would only mirror it once again.
    """
    height, width = (2 * min(radius, length) + 1 for length in values.shape[:2])
    mean = cv2.blur(values, (width, height), borderType=cv2.BORDER_REFLECT)
    return np.asarray(mean, np.float32).reshape(values.shape)


def resize(values: Array, shape: tuple[int, int]) -> Array:
    """Resize bilinearly to (height, width), any number of channels."""
    if values.shape[:2] == shape:
        return values
    resized = cv2.resize(values, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)


def pixel_centres(count: int, source: int) -> NDArray[np.float64]:
    """Return the centres of ``count`` pixels that cover ``source`` pixels, in the source."""
    return np.asarray((np.arange(count) + 0.5) * (source / count) - 0.5, np.float64)


def lerp_rows(values: Array, positions: NDArray[np.float64]) -> Array:
    """Interpolate linearly between rows, the outermost continued: (h, ...) gives (n, ...)."""
    last = values.shape[0] - 1
    positions = np.clip(positions, 0, last)
    above = np.minimum(positions.astype(np.intp), max(0, last - 1))
    t = (positions - above).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    below = np.minimum(above + 1, last)
    return np.asarray(values[above] * (1 - t) + values[below] * t, np.float32)


def apply(coefficients: Array, colours: Array) -> Array:
    """Evaluate the linear functions at the colours: (h, w, 4) and (h, w, 3) give (h, w)."""
    alpha = coefficients[..., 3].copy()
    for channel in range(3):
        alpha += coefficients[..., channel] * colours[..., channel]
    return alpha


def products(colours: Array) -> Array:
    """The six distinct products of the channels, (h, w, 6): rr, rg, rb, gg, gb, bb."""
    out = np.empty((*colours.shape[:2], 6), np.float32)
    for k, (i, j) in enumerate(_PAIRS):
        np.multiply(colours[..., i], colours[..., j], out=out[..., k])
    return out


def solve(covariance: Array, epsilon: float, right: Array) -> Array:
    """Solve (covariance + epsilon·1) x = right in each pixel, by Cramer's rule.

    Args:
        covariance: Symmetric 3×3 matrices as six planes, (h, w, 6), in the order of `products`.
        epsilon: What regularises them, beside a 3e-4th of their trace.
        right: (h, w, 3).

    Returns:
        (h, w, 3).
    """
    # Colours on a line, as in a grey photo, leave the matrix singular to float32's precision:
    # hence a share of its own size on top of epsilon.
    ridge = np.float32(epsilon) + sum(covariance[..., k] for k in _DIAGONAL) * np.float32(3e-4)
    rr, rg, rb, gg, gb, bb = (
        covariance[..., k] + ridge if k in _DIAGONAL else covariance[..., k] for k in range(6)
    )
    c_rr, c_rg, c_rb = gg * bb - gb * gb, gb * rb - rg * bb, rg * gb - gg * rb
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    scale = 1 / (c_rr * rr + c_rg * rg + c_rb * rb)
    x, y, z = (right[..., k] * scale for k in range(3))
    return np.stack(
        (
            c_rr * x + c_rg * y + c_rb * z,
            c_rg * x + c_gg * y + c_gb * z,
            c_rb * x + c_gb * y + c_bb * z,
        ),
        axis=-1,
    )


def guided_filter(colours: Array, target: Array, radius: int, epsilon: float) -> Array:
    """Fit the target by local linear functions of colour.

    He, Sun and Tang, "Guided Image Filtering", TPAMI 2013, equations 14 to 16.

    Args:
        colours: The guide, (h, w, 3), around zero.
        target: What to fit, (h, w) in [0, 1].
        radius: Of the windows in pixels.
        epsilon: Variance of colour below which the target is averaged instead.

    Returns:
        Coefficients, (h, w, 4).
    """
    mean_colour = box_mean(colours, radius)
    mean_target = box_mean(target, radius)
    covariance = box_mean(products(colours), radius) - products(mean_colour)
    cross = box_mean(colours * target[..., None], radius) - mean_colour * mean_target[..., None]
    fit = np.empty((*target.shape, 4), np.float32)
    fit[..., :3] = solve(covariance, epsilon, cross)
    fit[..., 3] = mean_target - (fit[..., :3] * mean_colour).sum(axis=-1)
    return box_mean(fit, radius)
