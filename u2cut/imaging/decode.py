"""A photo's bytes -> pixels, alpha, ICC profile and resolution.

Photos come from strangers: the format is decided by content, only a few decoders can be
reached, the size is checked before any pixel is decoded, and whatever a decoder raises on bad
bytes becomes an InputError.
"""

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from u2cut.errors import InputError, printable
from u2cut.imaging import colour, png_chunks, tiff
from u2cut.imaging.hidden import fill_hidden
from u2cut.imaging.jpeg import ends_early
from u2cut.imaging.metadata import LONGEST_TEXT, Metadata, read_metadata
from u2cut.imaging.pixels import LARGEST_PROFILE, Pixels, to_rgb
from u2cut.imaging.recognise import recognise

_Opener = Callable[[io.BytesIO], ImageFile.ImageFile]
# Image.open would check against a limit that is global to the process, so it is not used.
_OPENERS: dict[str, _Opener] = {
    "JPEG": JpegImagePlugin.JpegImageFile,  # of an MPO, the first photo
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x112, 0x11A, 0x11B, 0x128
_TO_DPI = {2: 1.0, 3: 2.54}  # ResolutionUnit: inch, centimetre
_UNTURNED, _SIDEWAYS = 1, range(5, 9)
_EXIF_IFD, _INTEROP_IFD, _INTEROP_INDEX = 0x8769, 0xA005, 1
_COLOUR_SPACE, _EXIF_SRGB = 0xA001, 1
_NETWORK_SIDE, _GREY = 1280, 128
_UNSPECIFIED = 2  # of ITU-T H.273's primaries
_BOXES = 1 << 16  # bytes in which an AVIF or HEIC file describes itself


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded photo, upright.

    Attributes:
        image: (H, W, 3) uint8 RGB, C-contiguous; read-only, so that it is shared, not copied.
        alpha: (H, W) float32 in [0, 1], the photo's own; None when it is opaque. Under 0, the
            image holds the visible colours around.
        icc: The ICC profile that ``image`` is in; None means sRGB.
        dpi: Horizontal and vertical resolution in pixels per inch.
        warnings: What the user should know, e.g. that only the first frame was used.
        metadata: Author, copyright, date and the like; None if the file says nothing.
        reduced_from: The photo's (height, width) if ``image`` is smaller than the photo.
    """

    image: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.float32] | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: tuple[str, ...] = ()
    metadata: Metadata | None = None
    reduced_from: tuple[int, int] | None = None

    @cached_property
    def for_network(self) -> npt.NDArray[np.uint8]:
        """The photo in sRGB over mid-grey, as the network is shown it, (h, w, 3) uint8.

        Smaller than the photo where colours had to be converted or laid over grey.
        """
        if self.icc is None and self.alpha is None:
            return self.image
        height, width = self.image.shape[:2]
        scale = min(1.0, _NETWORK_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(cv2.resize(self.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        small = colour.convert(small, self.icc, None)
        if self.alpha is None:
            return small
        alpha = cv2.resize(self.alpha, size, interpolation=cv2.INTER_AREA)[..., None]
        laid: npt.NDArray[np.uint8] = np.rint(alpha * small + (1 - alpha) * _GREY).astype(np.uint8)
        return laid

    def in_srgb(self) -> "Frame":
        """Return the photo with its colours converted to sRGB."""
        if self.icc is None:
            return self
        image = colour.convert(self.image, self.icc, None)
        image.flags.writeable = False
        return replace(self, image=image, icc=None)

    def part(self, region: tuple[slice, slice]) -> "Frame":
        """Return a part of the photo: rows and columns of ``image``."""
        alpha = None if self.alpha is None else self.alpha[region]
        return Frame(np.ascontiguousarray(self.image[region]), alpha, self.icc)

    @property
    def size(self) -> tuple[int, int]:
        """The photo's full (height, width)."""
        return self.reduced_from or (self.image.shape[0], self.image.shape[1])


class _Metadata(NamedTuple):
    orientation: int
    dpi: tuple[float, float] | None
    warnings: tuple[str, ...]


def decode(data: bytes, *, max_pixels: int, least_size: tuple[int, int] | None = None) -> Frame:
    """Decode a photo: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC.

    The first frame or page is taken, and turned upright as its EXIF orientation says.

    Args:
        data: The file's content.
        max_pixels: A photo of more pixels is refused before it is decoded.
        least_size: (height, width) that suffice. A JPEG is then decoded at 1/2, 1/4 or 1/8 as
            long as both sides stay at least that long, which is faster.

    Raises:
        InputError: No picture, a damaged one, or one that is too large. The message does not
            name the file.
    """
    _silence_pillow()
    name = recognise(data)
    try:
        file = _open(name, data)
    except InputError:
        if name == "TIFF" and (described := tiff.describe(data)):
            return _deep_tiff(data, described, max_pixels)
        raise
    if isinstance(file, TiffImagePlugin.TiffImageFile):
        tiff.refuse_raw(file, data)
    width, height = file.size
    _refuse_size(width, height, max_pixels)
    metadata = _metadata(file)
    sideways = metadata.orientation in _SIDEWAYS
    draft_size = least_size if sideways or least_size is None else least_size[::-1]
    if draft_size and name == "JPEG":
        file.draft(None, draft_size)
    reduced = file.size != (width, height)
    if not (isinstance(file, TiffImagePlugin.TiffImageFile) and tiff.needs_help(file)):
        _load(name, file)
    if name == "JPEG" and ends_early(data, file, draft_size):
        raise _damaged(name, EOFError("the rest of the photo is missing"))
    try:
        pixels = _pixels(name, data, file)
    except MemoryError as e:
        raise _damaged(name, e) from e
    # Pillow turns a TIFF itself when it loads it.
    orientation = _UNTURNED if name == "TIFF" and not pixels.unturned else metadata.orientation
    image = np.asarray(_upright(pixels.rgb, orientation), np.uint8)
    alpha = pixels.alpha
    if alpha is not None:
        alpha = np.asarray(_upright(alpha, orientation), np.float32)
        image = fill_hidden(image, alpha)
    image.flags.writeable = False
    return Frame(
        image=image,
        alpha=alpha,
        icc=pixels.icc,
        dpi=metadata.dpi[::-1] if metadata.dpi and sideways else metadata.dpi,
        warnings=metadata.warnings + pixels.warnings,
        metadata=read_metadata(
            file, png_chunks.texts(data, LONGEST_TEXT) if name == "PNG" else None
        ),
        reduced_from=((width, height) if sideways else (height, width)) if reduced else None,
    )


def count_pixels(data: bytes, *, max_pixels: int) -> int:
    """Return the number of pixels that a photo's file announces; nothing of it is decoded.

    Raises:
        InputError: No picture, a damaged one, or one of more than ``max_pixels``.
    """
    _silence_pillow()
    try:
        width, height = _open(recognise(data), data).size
    except InputError:
        described = tiff.describe(data)
        if described is None:
            raise
        width, height = described.width, described.height
    _refuse_size(width, height, max_pixels)
    return width * height


def _refuse_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise InputError(
            f"{width} x {height} pixels are more than the limit of {max_pixels}: "
            "raise --max-pixels if the photo is to be trusted"
        )


def _deep_tiff(data: bytes, described: tiff.Description, max_pixels: int) -> Frame:
    """Decode a TIFF file that Pillow doesn't open."""
    _refuse_size(described.width, described.height, max_pixels)
    picture, alpha = tiff.read(data)
    pixels = to_rgb(picture, None, alpha=alpha)
    image = np.asarray(_upright(pixels.rgb, described.orientation), np.uint8)
    if pixels.alpha is not None:
        alpha = np.asarray(_upright(pixels.alpha, described.orientation), np.float32)
        return Frame(fill_hidden(image, alpha), alpha)
    return Frame(image)


def _pixels(name: str, data: bytes, file: ImageFile.ImageFile) -> Pixels:
    """Bring the pixels to 8-bit RGB, with the transparency and colours that the file means."""
    icc: bytes | None = file.info.get("icc_profile")
    if isinstance(file, TiffImagePlugin.TiffImageFile) and tiff.needs_help(file):
        picture, alpha = tiff.read(data)
        return to_rgb(picture, icc, alpha=alpha)._replace(unturned=True)
    if name == "PNG":
        return _png_pixels(data, file)
    if icc is None:
        icc = _declared(name, data, file)
    return to_rgb(file, icc)


def _png_pixels(data: bytes, file: ImageFile.ImageFile) -> Pixels:
    named = png_chunks.transparent_colour(data, file)
    alpha = None if named is None else np.where(named, np.float32(0), np.float32(1))
    if named is not None:
        file.info.pop("transparency", None)
    code = png_chunks.chunk(data, b"cICP")
    warnings: tuple[str, ...] = ()
    if code is not None and len(code) == 4 and code[0] != _UNSPECIFIED:
        icc = colour.from_code_points(code[0], code[1])
    else:
        icc = png_chunks.profile(data, LARGEST_PROFILE)
        if icc == b"":
            icc, warnings = None, ("its ICC profile is broken and was dropped",)
        elif icc is None:
            icc = colour.from_png(
                file.info.get("gamma"), file.info.get("chromaticity"), srgb="srgb" in file.info
            )
    pixels = to_rgb(file, icc, alpha=alpha)
    return pixels._replace(warnings=warnings + pixels.warnings)


def _declared(name: str, data: bytes, file: ImageFile.ImageFile) -> bytes | None:
    """Return a profile for the colours that a file without one declares; None means sRGB."""
    if name in ("AVIF", "HEIC"):
        at = data.find(b"colrnclx", 0, _BOXES)  # ISO/IEC 14496-12, 12.1.5
        if at >= 0 and len(data) >= at + 12:
            primaries, transfer = (int.from_bytes(data[at + k : at + k + 2]) for k in (8, 10))
            if primaries != _UNSPECIFIED:
                return colour.from_code_points(primaries, transfer)
    if name in ("JPEG", "WEBP"):
        with contextlib.suppress(Exception):  # EXIF blocks, see _metadata
            exif = file.getexif()
            space = exif.get_ifd(_EXIF_IFD).get(_COLOUR_SPACE)
            index = exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX)
            if index == "R03" and space != _EXIF_SRGB:
                return colour.adobe_rgb()
    return None


def _silence_pillow() -> None:
    """Keep Pillow's warnings about odd metadata off stderr, in any thread."""
    if not any(
        action == "ignore" and module is not None and module.pattern == "PIL"
        for action, _, _, module, _ in warnings.filters
    ):
        warnings.filterwarnings("ignore", module="PIL")


def _open(name: str, data: bytes) -> ImageFile.ImageFile:
    """Read the header."""
    opener = _heif_opener() if name == "HEIC" else _OPENERS[name]
    try:
        return opener(png_chunks.reopened(data) if name == "PNG" else io.BytesIO(data))
    except Exception as e:  # a decoder's word on hostile bytes, whatever its type
        raise _damaged(name, e) from e


def _heif_opener() -> _Opener:
    try:
        plugin = importlib.import_module("pillow_heif.as_plugin")
    except ImportError as e:
        raise InputError(
            "this is a HEIC photo, and the extra that reads it is missing: "
            "pip install 'u2cut[heic]'"
        ) from e
    opener: _Opener = plugin.HeifImageFile
    return opener


def _load(name: str, file: ImageFile.ImageFile) -> None:
    """Decode the pixels."""
    try:
        file.load()
    except Exception as e:  # as above
        raise _damaged(name, e) from e


def _damaged(name: str, error: Exception) -> InputError:
    if isinstance(error, MemoryError):
        return InputError(f"not enough memory to decode this {name} file: lower --max-pixels")
    if isinstance(error, Image.DecompressionBombError):
        return InputError(f"this {name} file claims more pixels than its format is read with")
    reason = printable(str(error).strip())[:200] or type(error).__name__
    return InputError(
        f"this {name} file is damaged, cut short or of a kind that u2cut can't read "
        f"({reason}): copy or export it again"
    )


def _metadata(file: ImageFile.ImageFile) -> _Metadata:
    """Read orientation and resolution; broken metadata costs a warning, not the photo."""
    notes = []
    try:
        if getattr(file, "is_animated", False):
            part = "page" if file.format == "TIFF" else "frame"
            notes.append(f"it has more than one {part}: only the first one is used")
        exif = file.getexif()
        orientation = exif.get(_ORIENTATION, _UNTURNED)
        dpi = _resolution(file.info.get("dpi")) or _exif_resolution(exif)
        if isinstance(file, TiffImagePlugin.TiffImageFile) and tiff.has_no_unit(file):
            dpi = None
    except Exception:  # EXIF blocks are written by anything, and Pillow raises anything on them
        notes.append("its metadata are damaged: orientation and resolution are unknown")
        return _Metadata(_UNTURNED, None, tuple(notes))
    return _Metadata(orientation if orientation in range(1, 9) else 1, dpi, tuple(notes))


def _exif_resolution(exif: Image.Exif) -> tuple[float, float] | None:
    scale = _TO_DPI.get(exif.get(_RESOLUTION_UNIT, 2))
    if scale is None:  # a ratio of sides, in no unit
        return None
    x, y = exif.get(_X_RESOLUTION), exif.get(_Y_RESOLUTION)
    return None if x is None or y is None else _resolution((float(x) * scale, float(y) * scale))


def _resolution(dpi: object) -> tuple[float, float] | None:
    """Two sane numbers, or None: files claim 0, 1 (for "unknown"), infinity and NaN."""
    try:
        x, y = (float(value) for value in dpi)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if all(1 < v <= 1e5 for v in (x, y)) else None


def _upright(array: MatLike, orientation: int) -> MatLike:
    """Undo an EXIF orientation, 1 to 8 (CIPA DC-008, tag 274)."""
    if orientation in _SIDEWAYS:
        array = cv2.transpose(array)
    flips = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # cv2's codes: 1 horizontal, 0 vertical, -1 both
    return cv2.flip(array, flips[orientation]) if orientation in flips else array
