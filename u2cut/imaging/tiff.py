"""TIFF files that Pillow reads wrong, or takes for photos: deep, planar, inverted, camera raw."""

import io
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from u2cut.errors import InputError, printable

if TYPE_CHECKING:
    from tifffile import TiffFile

_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _FORMAT = 258, 262, 277, 284, 339
_ORIENTATION = 274
_SUBFILE, _MAKE, _SUB_IFDS, _DNG_VERSION, _UNIT = 254, 271, 330, 50706, 296
_WHITE_IS_ZERO: Final = 0
_NO_UNIT: Final = 1
_CHANNELS: Final = {0: 1, 1: 1, 2: 3, 5: 4}  # of each photometric interpretation


def refuse_raw(file: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Refuse a camera's raw file, of which the first picture is a thumbnail.

    Raises:
        InputError: It is one: DNG, NEF, CR2, ARW and others that are TIFF files inside.
    """
    tags = file.tag_v2
    thumbnail = tags.get(_SUBFILE) == 1 and _SUB_IFDS in tags and _MAKE in tags
    sony = _SUB_IFDS in tags and str(tags.get(_MAKE, "")).startswith(("SONY", "PENTAX"))
    if data[8:10] == b"CR" or _DNG_VERSION in tags or thumbnail or sony:
        raise InputError(
            "a camera's raw file: develop it first, and export it as TIFF, PNG or JPEG"
        )


def has_no_unit(file: TiffImagePlugin.TiffImageFile) -> bool:
    """Tell whether the resolution is a ratio of sides only, in no unit."""
    return bool(file.tag_v2.get(_UNIT) == _NO_UNIT)


def needs_help(file: TiffImagePlugin.TiffImageFile) -> bool:
    """Tell whether Pillow would read the pixels wrong, or not at all."""
    tags = file.tag_v2
    bits, samples = max(tags.get(_BITS, (1,))), tags.get(_SAMPLES, 1)
    planar = tags.get(_PLANAR, 1) == 2 and samples > 1
    deep = bits > 8 and samples > 1
    inverted = bits > 8 and tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    unsigned = bits == 32 and tags.get(_FORMAT, (1,))[0] == 1
    grey_alpha = samples == 2
    return bool(planar or deep or inverted or unsigned or grey_alpha)


def _opened(data: bytes) -> "TiffFile":
    from tifffile import TiffFile  # for the few files that need it: it takes a while

    logger = logging.getLogger("tifffile")
    logger.propagate = False  # what is wrong with a file is said once, by us
    logger.handlers[:] = [logging.NullHandler()]
    return TiffFile(io.BytesIO(data))


class Description(NamedTuple):
    """The facts about a file before its pixels are decoded."""

    height: int
    width: int
    orientation: int


def describe(data: bytes) -> Description | None:
    """Describe the first picture of a file that Pillow doesn't open; None if it is damaged."""
    try:
        with _opened(data) as file:
            page = file.pages.first
            orientation = int(page.tags.valueof(_ORIENTATION, 1))
            return Description(page.imagelength, page.imagewidth, orientation)
    except Exception:  # hostile bytes raise anything
        return None


def read(data: bytes) -> tuple[Image.Image, NDArray[np.float32] | None]:
    """Decode the first picture of a TIFF file.

    Returns:
        A picture of mode L, RGB or CMYK, 8 bits a channel, and its straight alpha, (H, W) in
        [0, 1], if it has one.

    Raises:
        InputError: It can't be decoded.
    """
    try:
        return _read(data)
    except Exception as e:  # a decoder's word on hostile bytes, whatever its type
        reason = printable(str(e).strip())[:120] or type(e).__name__
        raise InputError(
            f"this TIFF file is damaged, or of a kind that u2cut can't read ({reason}): export it "
            "without compression, or as PNG"
        ) from e


def _read(data: bytes) -> tuple[Image.Image, NDArray[np.float32] | None]:
    with _opened(data) as file:
        page = file.pages.first
        pixels = np.asarray(page.asarray())
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        photometric = int(page.photometric)
        extras = [int(extra) for extra in page.extrasamples]
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    unit = _unit(pixels)
    if photometric == _WHITE_IS_ZERO:
        unit = np.concatenate([1 - unit[..., :1], unit[..., 1:]], axis=2)
    count = _CHANNELS[photometric]
    colours, alpha = unit[..., :count], None
    if extras and extras[0] in (1, 2) and unit.shape[2] > count:
        alpha = np.ascontiguousarray(unit[..., count])
        if extras[0] == 1:  # associated: the colours were multiplied by it
            colours = colours / np.maximum(alpha, 1 / 65535)[..., None]
    eight = np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[count]
    return Image.fromarray(eight[..., 0] if count == 1 else eight, mode), alpha


def _unit(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Scale samples of any kind to [0, 1]; floats by their own largest value above 1."""
    values = pixels.astype(np.float32)
    if pixels.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0, posinf=0, neginf=0)
        return np.clip(values / max(1.0, float(values.max(initial=0))), 0, 1)
    if pixels.dtype.kind == "b":
        return values
    info = np.iinfo(pixels.dtype)
    return (values - np.float32(info.min)) / np.float32(info.max - info.min)
