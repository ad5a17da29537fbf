"""Zoom refinement: a second prediction of small subjects, each at the network's whole size."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.matting.guided import Array, resize

Look = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Box = tuple[int, int, int, int]  # top, left, bottom, right; the last two exclusive

SMALL: Final = 0.6  # of the photo's side: a padded box that is larger has been seen well enough
LOOKS: Final = 6  # at most so many, the largest subjects first
_FINER: Final = (
    1.6  # pixels of the photo to one of the map: with fewer, enlarging shows nothing new
)
_PADDING: Final = 0.3  # of the subject's box, on each side
_FAINTEST: Final = 0.15  # what the first look gives less than this can't become subject
_AGREEMENT: Final = 0.5  # intersection over union of the two looks, halved at 0.5
_SURE: Final = 0.9  # of what the first look gives more than this,
_KEPT: Final = 0.9  # the second must show so much
_FINEST: Final = 1600  # longest side of a merged map


def refine_by_zoom(image: NDArray[np.uint8], saliency: Array, look: Look) -> Array:
    """Look again at each subject that fills little of the photo, and merge.

    A second prediction counts only if it finds, in its box, the subject of the first, and loses
    no part of which the first is sure. A photo that is hardly larger than the map isn't looked at
    again.

    Args:
        image: RGB, (H, W, 3) uint8.
        saliency: The first look's map, (s, s) float32 in [0, 1].
        look: Runs the network on a photo: RGB (h, w, 3) uint8 -> map (s, s) float32 in [0, 1].

    Returns:
        Saliency map, float32 in [0, 1], of the first look's resolution or finer; the same array
        when no second prediction was needed or counted.
    """
    height, width = image.shape[:2]
    if height * width < _FINER**2 * saliency.size:
        return saliency
    found: list[tuple[Box, Array]] = []
    for box in subject_boxes(saliency, (height, width)):
        top, left, bottom, right = box
        closer = _stretched(look(np.ascontiguousarray(image[top:bottom, left:right])))
        closer = closer * _support(saliency, (height, width), box, closer.shape)
        if _agree(_part(saliency, (height, width), box), closer):
            found.append((box, closer))
    return _merge(saliency, (height, width), found) if found else saliency


def subject_boxes(saliency: Array, shape: tuple[int, int]) -> list[Box]:
    """Find the padded boxes of small subjects, those that overlap as one.

    Args:
        saliency: (h, w) float32 in [0, 1], over the whole photo.
        shape: (height, width) of the photo.

    Returns:
        Boxes in pixels of the photo, largest first; those of specks and of large subjects left out.
    """
    mask = (saliency > 0.5).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    scale = np.array(shape) / saliency.shape
    boxes: list[Box] = []
    for left, top, width, height, area in stats[1:].tolist():
        if area * 2000 < saliency.size:
            continue  # a speck
        # No padding below a few of the map's pixels: the first look's outline is that vague.
        y, x = max(4.0, height * _PADDING), max(4.0, width * _PADDING)
        corners = np.array([[top - y, left - x], [top + height + y, left + width + x]]) * scale
        corners = np.clip(np.rint(corners), 0, shape).astype(int)
        (y0, x0), (y1, x1) = corners.tolist()
        boxes.append((y0, x0, y1, x1))
    boxes = _joined(boxes)
    small = [b for b in boxes if b[2] - b[0] < SMALL * shape[0] and b[3] - b[1] < SMALL * shape[1]]
    return sorted(small, key=lambda b: (b[0] - b[2]) * (b[3] - b[1]))[:LOOKS]


def _joined(boxes: list[Box]) -> list[Box]:
    """Replace boxes that overlap by the box around them, until none do."""
    joined: list[Box] = []
    for box in boxes:
        while True:
            hit = next((b for b in joined if _overlap(b, box)), None)
            if hit is None:
                break
            joined.remove(hit)
            box = (
                min(hit[0], box[0]),
                min(hit[1], box[1]),
                max(hit[2], box[2]),
                max(hit[3], box[3]),
            )
        joined.append(box)
    return joined


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _stretched(closer: Array) -> Array:
    """Let the map reach 1: in its box the subject is the most salient thing."""
    return np.asarray(np.clip(closer / max(float(closer.max()), 0.5), 0, 1), np.float32)


def _part(saliency: Array, shape: tuple[int, int], box: Box) -> Array:
    """Cut the box, in pixels of the photo, out of the map over the whole photo."""
    scale_y, scale_x = saliency.shape[0] / shape[0], saliency.shape[1] / shape[1]
    top, left = int(box[0] * scale_y), int(box[1] * scale_x)
    bottom, right = max(top + 1, round(box[2] * scale_y)), max(left + 1, round(box[3] * scale_x))
    return saliency[top:bottom, left:right]


def _support(
    saliency: Array, shape: tuple[int, int], box: Box, size: tuple[int, ...]
) -> NDArray[np.float32]:
    """Return where the first prediction left room for a subject, with a margin."""
    seen = (_part(saliency, shape, box) > _FAINTEST).astype(np.float32)
    reach = max(1, saliency.shape[0] // 100)
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    seen = np.asarray(cv2.dilate(seen, kernel), np.float32)
    return resize(seen, (size[0], size[1]))


def _agree(first: Array, second: Array) -> bool:
    """Tell whether both looks show the same subject, and the second all that the first is sure of.

    They are compared at the first look's resolution.
    """
    size = first.shape[1], first.shape[0]
    reduced = np.asarray(cv2.resize(second, size, interpolation=cv2.INTER_AREA))
    a, b, sure = first > 0.5, reduced > 0.5, first > _SURE
    same = (a & b).sum() >= _AGREEMENT * max(1, (a | b).sum())
    return bool(same and (sure & b).sum() >= _KEPT * sure.sum())


def _merge(saliency: Array, shape: tuple[int, int], found: list[tuple[Box, Array]]) -> Array:
    """Lay the second predictions over the first, on a map that keeps their resolution."""
    sharpest = max(closer.shape[0] / (box[2] - box[0]) for box, closer in found)
    scale = min(1.0, _FINEST / max(shape), max(sharpest, saliency.shape[0] / shape[0]))
    size = (
        max(saliency.shape[0], round(shape[0] * scale)),
        max(saliency.shape[1], round(shape[1] * scale)),
    )
    merged = resize(saliency, size).copy()
    for box, closer in found:
        part = _part(merged, shape, box)  # a view
        inner = part.shape
        closer = resize(closer, (inner[0], inner[1]))
        weight = _fade(inner[0])[:, None] * _fade(inner[1])[None, :]
        part += weight * (closer - part)
    return merged


def _fade(length: int) -> NDArray[np.float32]:
    """From 0 at the ends to 1 within a tenth of the length."""
    position = (np.arange(length, dtype=np.float32) + 0.5) / length
    return np.clip(10 * np.minimum(position, 1 - position), 0, 1)
