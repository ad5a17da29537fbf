"""Any Pillow mode -> 8-bit RGB and alpha, with the colours that the ICC profile means."""

import io
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

LARGEST_PROFILE: Final = 4 << 20  # bytes; real RGB profiles have 0.5 to 600 kB, CMYK up to 3 MB
_STRIP_ROWS = 64
_GREY = ("1", "L", "LA", "La")
_DEEP_GREY = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


class Pixels(NamedTuple):
    """The pixels of one picture, 8 bits a channel.

    Attributes:
        rgb: (H, W, 3) uint8 RGB.
        alpha: (H, W) float32 in [0, 1]; None when the picture is opaque.
        icc: The profile that ``rgb`` is in; None means sRGB.
        warnings: What was lost on the way.
        unturned: Whether an orientation is still to be undone where Pillow would have done it.
    """

    rgb: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.float32] | None
    icc: bytes | None
    warnings: tuple[str, ...]
    unturned: bool = False


def to_rgb(
    image: Image.Image, icc: bytes | None, *, alpha: npt.NDArray[np.float32] | None = None
) -> Pixels:
    """Turn a loaded picture of any mode into 8-bit RGB and alpha.

    An RGB profile is kept, so wide-gamut photos keep their colours. CMYK, Lab and grey pixels with
    a profile of their own kind are converted to sRGB. A profile of another kind than the pixels
    is dropped with a warning.

    Args:
        image: A loaded picture.
        icc: Its ICC profile, unchecked.
        alpha: Its transparency, (H, W) in [0, 1], if that was found out already.
    """
    warnings: list[str] = []
    if image.mode in _DEEP_GREY:
        image = _eight_bits(image)
    grey = image.mode in _GREY
    if image.mode in ("La", "LA;16B"):
        image = image.convert("LA")
    if alpha is not None:
        alpha = None if float(alpha.min(initial=1)) >= 1 else alpha
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = _alpha(image)
    space = _colour_space(icc)
    if icc and space is None:
        warnings.append("its ICC profile is broken and was dropped")
    if space == b"RGB " and not grey and image.mode not in ("CMYK", "LAB"):
        return Pixels(_rgb(image), alpha, icc, tuple(warnings))
    try:
        managed = _to_srgb(image, icc if space else None, space, grey=grey)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        warnings.append("its ICC profile does not fit its pixels and was dropped")
        managed = image
    return Pixels(_rgb(managed), alpha, None, tuple(warnings))


def _to_srgb(
    image: Image.Image, icc: bytes | None, space: bytes | None, *, grey: bool
) -> Image.Image:
    """Convert CMYK, grey or Lab pixels to sRGB by their profile; leave others as they are."""
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif icc and (image.mode, space) == ("CMYK", b"CMYK"):
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile
    elif icc and grey and space == b"GRAY":
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile
        image = image.convert("L")
    elif icc:
        raise ValueError("a profile for another kind of pixels")
    else:
        return image
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(source),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # inPlace=False
    return converted


def _colour_space(icc: bytes | None) -> bytes | None:
    """Read a profile's colour space from its header (ICC.1:2022, 7.2); None if it is no profile."""
    if icc is None or not 128 <= len(icc) <= LARGEST_PROFILE or icc[36:40] != b"acsp":
        return None
    return icc[16:20] if 128 <= int.from_bytes(icc[:4]) <= len(icc) else None


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB, C-contiguous."""
    if image.mode == "RGBA":
        return np.asarray(cv2.cvtColor(np.asarray(image), cv2.COLOR_RGBA2RGB), np.uint8)
    image = image if image.mode == "RGB" else image.convert("RGB")
    # In strips: Pillow hands a whole picture over by way of two more copies.
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, _STRIP_ROWS):
        bottom = min(top + _STRIP_ROWS, image.height)
        rgb[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return rgb


def _alpha(image: Image.Image) -> npt.NDArray[np.float32] | None:
    """(H, W) float32 in [0, 1] from an RGBA picture; None if it is opaque everywhere."""
    channel = image.getchannel("A")
    if channel.getextrema() == (255, 255):
        return None
    alpha = np.asarray(channel, np.float32)
    return alpha / np.float32(255)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey values of 16 or 32 bits, or floats, to 8 bits; nothing is clipped.

    White is 1 or 255 (floats) or 65535, the least that holds all values; beyond these, black
    and white are the least and the greatest value. NaN counts as black.
    """
    values = np.asarray(image).astype(np.float32)
    finite = np.isfinite(values)
    black, white = (float(f(values, where=finite, initial=0)) for f in (np.min, np.max))
    if black >= 0 and white <= 65535:
        is_unit, is_byte = white <= 1, white <= 255
        white = 65535.0 if image.mode != "F" or not is_byte else 1.0 if is_unit else 255.0
    np.nan_to_num(values, copy=False, nan=black, posinf=white, neginf=black)
    # Halves, for the difference of two floats might be infinite.
    values *= np.float32(0.5)
    values -= np.float32(black / 2)
    values *= np.float32(255 / (white / 2 - black / 2))
    return Image.fromarray(np.rint(values).clip(0, 255).astype(np.uint8))
