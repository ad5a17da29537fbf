"""From a photo and its saliency map to pixels: pure functions, each a step."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut import matting
from u2cut.errors import InputError
from u2cut.files.read import read
from u2cut.imaging import composite
from u2cut.imaging.canvas import lay_out, place
from u2cut.imaging.colour import convert
from u2cut.imaging.crop import subject_box
from u2cut.imaging.decode import Frame, decode
from u2cut.imaging.hidden import fill_hidden
from u2cut.notation import Margin, Position
from u2cut.options import (
    Background,
    Blur,
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    InputOptions,
    Picture,
    Product,
)

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# A file whose own alpha cuts away at least this share, and agrees this well (IoU) with the map,
# is a cutout already.
_CUT_AWAY: Final = 0.05
_SAME: Final = 0.8
_BEHIND: Final = 0.02  # alpha up to which a pixel shows the background alone
_UNKNOWN: Final = 128  # in a trimap
_FILL: Final = 0.85  # what shops and marketplaces ask for


def alpha(photo: Frame, saliency: Floats | None, edge: EdgeOptions) -> Floats:
    """Return straight alpha, (H, W) in [0, 1], times the photo's own.

    Args:
        photo: The photo.
        saliency: Its map, (s, s) in [0, 1]; None without a subject.
        edge: How the edge is refined.
    """
    if saliency is None:
        return np.zeros(photo.size, np.float32)
    own = photo.alpha
    if own is not None and _is_cut_out(own, saliency):
        result, own = own.copy(), None  # nothing can be known better than the file says
    else:
        result = matting.alpha_matte(photo.image, saliency, edge.matting.value)
    if edge.clean:
        result = matting.clean(result)
    if edge.largest:
        result = matting.largest(result)
    if edge.erode:
        result = matting.erode(result, edge.erode)
    if edge.feather:
        result = matting.feather(result, edge.feather)
    if own is not None:
        result = result * own
    if edge.threshold is not None:
        result = (result >= edge.threshold).astype(np.float32)
    return result


def foreground(photo: Frame, opacity: Floats) -> Pixels:
    """Return the subject's own colours, without the background's in the edge, RGB (H, W, 3).

    Args:
        photo: The photo.
        opacity: Its alpha, (H, W).
    """
    colours = matting.foreground(photo.image, opacity)
    if photo.alpha is None:
        return colours
    # Where the file has an alpha of its own, its colours are the subject's already.
    own = (photo.alpha < 1)[..., None]
    return np.where(own, photo.image, colours)


def cutout(
    photo: Frame,
    opacity: Floats,
    colours: Pixels,
    options: CutoutOptions,
    canvas: CanvasOptions,
    backdrop: Frame | None = None,
) -> Pixels:
    """Return the cutout, or the subject on its background.

    Args:
        photo: The photo.
        opacity: Its alpha, (H, W).
        colours: The subject's, RGB (H, W, 3).
        options: Background and crop.
        canvas: Where the subject is placed, if anywhere.
        backdrop: The background picture, if it has been read already.

    Returns:
        RGBA or RGB, (h, w, 4 or 3) uint8.
    """
    window = np.s_[:, :]
    if options.crop:
        window = subject_box(opacity, options.crop_margin or Margin(0, percent=False)) or window
    placed, shown = on_canvas(colours, opacity, canvas)
    placed, shown = placed[window], shown[window]
    size = (shown.shape[0], shown.shape[1])
    behind: Pixels | tuple[int, int, int]
    match backdrop or read_backdrop(options.behind) or options.behind:
        case None:
            return composite.cutout(placed, shown, keep_hidden_colours=options.keep_hidden_colours)
        case Blur(sigma):
            blurred = _blurred(photo, opacity, sigma, moved=canvas.canvas is not None)
            behind = composite.cover(blurred[window], size)
        case Frame(image=image, icc=icc):
            behind = convert(composite.cover(image, size), icc, photo.icc)
        case (_, _, _) as colour:
            behind = photo_colour(colour, photo)
    return composite.over(placed, shown, behind)


def grey(values: Pixels, product: Product, *, invert: bool) -> Pixels:
    """Return a mask, (H, W) uint8, with subject and background exchanged where that is asked for.

    Args:
        values: 0 background, 255 subject.
        product: What it is: what a trimap doesn't know stays unknown.
        invert: Exchange them.
    """
    if not invert:
        return values
    inverted: Pixels = 255 - values
    if product is Product.TRIMAP:
        inverted[values == _UNKNOWN] = _UNKNOWN
    return inverted


def photo_colour(colour: tuple[int, int, int], photo: Frame) -> tuple[int, int, int]:
    """Return an sRGB colour in the photo's own space."""
    pixel = np.array([[colour]], np.uint8)
    red, green, blue = convert(pixel, None, photo.icc)[0, 0].tolist()
    return red, green, blue


def on_canvas(colours: Pixels, opacity: Floats, options: CanvasOptions) -> tuple[Pixels, Floats]:
    """Return colours and alpha, placed on the canvas if the options name one."""
    if options.canvas is None:
        return colours, opacity
    layout = lay_out(
        opacity,
        options.canvas,
        fill=options.fill or _FILL,
        position=options.position or Position(),
        enlarge=options.enlarge,
    )
    return place(colours, opacity, layout)


def read_backdrop(behind: Background | None) -> Frame | None:
    """Read the picture that is to be the background, if one is.

    Raises:
        InputError: It can't be read.
    """
    if not isinstance(behind, Picture):
        return None
    try:
        return decode(read(str(behind.path)), max_pixels=InputOptions().max_pixels)
    except InputError as e:
        raise InputError(f"the background: {e}", path=behind.path) from e


def _blurred(photo: Frame, opacity: Floats, sigma: float, *, moved: bool) -> Pixels:
    """Return the photo's own background, blurred; filled in where a moved subject stood."""
    if not moved:
        return composite.blurred(photo.image, opacity, sigma)
    around = (opacity < _BEHIND).astype(np.float32)
    filled = fill_hidden(photo.image, around)
    return composite.blurred(filled, np.zeros_like(opacity), sigma)


def _is_cut_out(own: Floats, saliency: Floats) -> bool:
    """Tell whether a photo's own alpha is that of the subject which the map shows.

    Args:
        own: (H, W) in [0, 1].
        saliency: (s, s) in [0, 1].
    """
    if np.count_nonzero(own <= 0) < _CUT_AWAY * own.size:
        return False
    size = saliency.shape[::-1]
    small = cv2.resize(own, size, interpolation=cv2.INTER_AREA) > 0.5
    seen = saliency > 0.5
    return bool(np.count_nonzero(small & seen) >= _SAME * np.count_nonzero(small | seen))
