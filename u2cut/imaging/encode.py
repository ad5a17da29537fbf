"""Pixels -> a picture file's bytes, with ICC profile, resolution and metadata."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from u2cut.errors import OutputError
from u2cut.imaging.metadata import Metadata, exif_block, first_ifd
from u2cut.imaging.png import encode_png

_LONGEST_SIDE = {"webp": 16383, "jpg": 65500, "avif": 65535}


def encode(
    pixels: npt.NDArray[np.uint8],
    format: str,
    *,
    icc: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    metadata: Metadata | None = None,
    gps: bool = False,
    quality: int | None = None,
    compression: int | None = None,
) -> bytes:
    """Encode a picture; png, tiff and webp at quality 100 keep every pixel as it is.

    Args:
        pixels: uint8, (H, W) grey, (H, W, 3) RGB or (H, W, 4) RGBA with straight alpha.
        format: A ``Format``.
        icc: Profile of the RGB channels; grey pictures get none.
        dpi: Horizontal and vertical resolution in pixels per inch.
        metadata: What else the file is to say.
        gps: Whether that may include where the photo was taken.
        quality: 0 to 100 for webp (default 90; 100 is lossless), avif (80) and jpg (92).
        compression: Effort, 0 (fast) to 9 (small), for png (default 4), webp (4) and avif (2);
            of tiff, 0 stores and anything else compresses.

    Raises:
        OutputError: The format can't hold the picture.
    """
    height, width = pixels.shape[:2]
    longest = _LONGEST_SIDE.get(format, 2**31 - 1)
    if max(height, width) > longest:
        raise OutputError(
            f"{width} x {height} pixels don't fit into {format} (at most {longest} a side): "
            "use --format png"
        )
    if format == "jpg" and pixels.ndim == 3 and pixels.shape[2] == 4:
        raise OutputError("jpg has no transparency: give a background, or use --format png")
    profile = icc if pixels.ndim == 3 else None
    if format == "png":
        exif = exif_block(metadata, gps=gps)
        return encode_png(pixels, icc=profile, dpi=dpi, exif=exif, compression=compression)
    settings = _settings(format, quality, compression)
    said: dict[str, object] = {}
    if profile:
        said["icc_profile"] = profile
    has_dpi = format in ("jpg", "tiff")
    if dpi and has_dpi:
        said["dpi"] = dpi
    if format == "tiff":
        settings["tiffinfo"] = {**first_ifd(metadata), **settings.get("tiffinfo", {})}
    elif exif := exif_block(metadata, gps=gps, dpi=None if has_dpi else dpi):
        said["exif"] = b"Exif\x00\x00" + exif
    file = io.BytesIO()
    pillow_name = "JPEG" if format == "jpg" else format.upper()
    try:
        Image.fromarray(pixels).save(file, pillow_name, **settings, **said)
    except (OSError, ValueError) as e:
        raise OutputError(f"can't encode as {format}: {e}") from e
    return file.getvalue()


def _settings(format: str, quality: int | None, compression: int | None) -> dict[str, Any]:
    """Pillow's options for a format."""
    if format == "tiff":
        if compression == 0:
            return {"compression": "raw"}
        return {"compression": "tiff_lzw", "tiffinfo": {317: 2}}  # horizontal predictor
    if format == "webp":
        effort = 4 if compression is None else compression
        if quality == 100:
            return {"lossless": True, "quality": 10 * effort, "method": min(effort, 6)}
        return {"quality": 90 if quality is None else quality, "method": min(effort, 6)}
    if format == "avif":
        effort = 2 if compression is None else compression
        return {"quality": 80 if quality is None else quality, "speed": 10 - effort}
    return {"quality": 92 if quality is None else quality, "subsampling": "4:4:4"}
