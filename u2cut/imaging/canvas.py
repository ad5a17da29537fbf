"""The subject, scaled and placed on a canvas of its own: what shops want of every product."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.imaging.crop import subject_box
from u2cut.notation import Canvas, Margin, Position


@dataclass(frozen=True, slots=True)
class Layout:
    """The place of the subject on the canvas.

    Attributes:
        size: (height, width) of the canvas.
        window: The subject's box in the photo; None without a subject.
        box: Top, left, height and width of the box on the canvas.
    """

    size: tuple[int, int]
    window: tuple[slice, slice] | None
    box: tuple[int, int, int, int]


def lay_out(
    alpha: NDArray[np.float32],
    canvas: Canvas,
    *,
    fill: float,
    position: Position,
    enlarge: bool,
) -> Layout:
    """Scale the subject's box so that it fills its share of the canvas, and place it.

    Args:
        alpha: (H, W) in [0, 1]; all that is left in it counts as the subject.
        canvas: In pixels, the photo's own size, or a ratio: then it is as large as the subject
            needs in its own pixels.
        fill: Share of the canvas' width or height that the box takes, whichever it reaches first.
        position: Where in the free space.
        enlarge: Whether the subject may become larger than its own pixels.
    """
    if canvas.width == 0:
        canvas = Canvas(alpha.shape[1], alpha.shape[0], pixels=True)
    window = subject_box(alpha, Margin(0, percent=False))
    if window is None:
        size = (canvas.height, canvas.width) if canvas.pixels else _around(alpha.shape, canvas, 1)
        return Layout(size, None, (0, 0, 0, 0))
    rows, columns = window
    height, width = rows.stop - rows.start, columns.stop - columns.start
    size = (canvas.height, canvas.width)
    if not canvas.pixels:
        size = _around((height, width), canvas, fill)
    scale = min(fill * size[0] / height, fill * size[1] / width)
    if not (canvas.pixels and (enlarge or scale < 1)):
        scale = 1.0
    box = (
        min(size[0], max(1, round(height * scale))),
        min(size[1], max(1, round(width * scale))),
    )
    free = (size[0] - box[0], size[1] - box[1])
    left = round(free[1] * position.across)
    top = round(free[0] * position.down)
    if position.standing:
        top = max(0, free[0] - round(size[0] * (1 - fill) / 2))
    return Layout(size, window, (top, left, *box))


def _around(box: tuple[int, ...], canvas: Canvas, fill: float) -> tuple[int, int]:
    """Return the least canvas of a ratio in which a box takes its share."""
    height, width = box[0] / fill, box[1] / fill
    ratio = canvas.width / canvas.height
    height = max(height, width / ratio)
    return max(1, round(height)), max(1, round(height * ratio))


def place(
    colours: NDArray[np.uint8], alpha: NDArray[np.float32], layout: Layout
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Draw the subject on its canvas.

    It is resampled with its colours multiplied by alpha, so that what is cut away doesn't come
    back as a fringe.

    Args:
        colours: RGB, (H, W, 3) uint8.
        alpha: (H, W) float32 in [0, 1].
        layout: Of the same photo.

    Returns:
        RGB and alpha of the canvas' size.
    """
    drawn = np.zeros((*layout.size, 3), np.uint8)
    opacity = np.zeros(layout.size, np.float32)
    if layout.window is None:
        return drawn, opacity
    top, left, height, width = layout.box
    inside = np.s_[top : top + height, left : left + width]
    own, shown = alpha[layout.window], colours[layout.window]
    if own.shape == (height, width):
        drawn[inside], opacity[inside] = shown, own
        return drawn, opacity
    shrinks = height <= own.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    premultiplied = np.dstack([shown * own[..., None], own])
    scaled = np.asarray(cv2.resize(premultiplied, (width, height), interpolation=method))
    alone = np.clip(scaled[..., 3], 0, 1)
    straight = scaled[..., :3] / np.maximum(alone, 1 / 1024)[..., None]
    drawn[inside] = np.rint(np.clip(straight, 0, 255)).astype(np.uint8)
    opacity[inside] = alone
    return drawn, opacity
