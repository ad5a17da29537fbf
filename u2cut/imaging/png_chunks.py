"""Parts of PNG files that Pillow passes over or gets wrong: cICP, deep tRNS, long texts.

PNG specification, third edition, W3C 2025.
"""

import io
import zlib
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from u2cut.errors import InputError

_SIGNATURE: Final = 8
_TEXTS: Final = (b"tEXt", b"zTXt", b"iTXt")
_LONGEST: Final = 64 << 10  # bytes of a text chunk that Pillow is shown


def chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks before the pixels: type, and where their data begins and ends."""
    at = _SIGNATURE
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"IDAT" or at + 12 + length > len(data):
            return
        yield kind, at + 8, at + 8 + length
        at += 12 + length


def chunk(data: bytes, wanted: bytes) -> bytes | None:
    """Return the data of the first chunk of a type before the pixels."""
    return next((data[a:b] for kind, a, b in chunks(data) if kind == wanted), None)


def without_texts(data: bytes) -> bytes:
    """Return the file without texts and profiles of which Pillow would refuse the whole file.

    Compressed ones may be of any length once they are unpacked, so all of them go.
    """
    parts, kept = [], 0
    for kind, begin, end in chunks(data):
        long = kind in _TEXTS and (kind != b"tEXt" or end - begin > _LONGEST)
        if long or kind == b"iCCP":
            parts.append(data[kept : begin - 8])
            kept = end + 4
    return b"".join([*parts, data[kept:]]) if parts else data


def profile(data: bytes, longest: int) -> bytes | None:
    """Return the unpacked ICC profile of iCCP; what is longer or damaged comes back as b""."""
    packed = chunk(data, b"iCCP")
    if packed is None:
        return None
    name, _, rest = packed.partition(b"\0")
    if not name or not rest:
        return b""
    try:
        unpacked = zlib.decompressobj().decompress(rest[1:], longest + 1)
    except zlib.error:
        return b""
    return unpacked if len(unpacked) <= longest else b""


def texts(data: bytes, longest: int) -> dict[str, str]:
    """Return the texts before the pixels by their keywords; what is longer or damaged is left out.

    Args:
        data: The file.
        longest: Bytes of a text, unpacked.
    """
    found: dict[str, str] = {}
    for kind, begin, end in chunks(data):
        if kind not in _TEXTS or end - begin > longest:
            continue
        name, _, rest = data[begin:end].partition(b"\0")
        packed, encoding = kind == b"zTXt", "latin-1"
        if kind == b"iTXt" and len(rest) >= 2:
            packed, encoding = rest[0] == 1, "utf-8"
            rest = rest[2:].split(b"\0", 2)[-1]  # after language and translated keyword
        elif kind == b"zTXt":
            rest = rest[1:]
        try:
            text = zlib.decompressobj().decompress(rest, longest + 1) if packed else rest
            if len(text) <= longest:
                found.setdefault(name.decode("latin-1"), text.decode(encoding))
        except (zlib.error, UnicodeDecodeError):
            continue
    return found


def transparent_colour(data: bytes, picture: Image.Image) -> NDArray[np.bool_] | None:
    """Return where a picture has the one colour that tRNS calls transparent, (H, W).

    It is compared at the file's own depth, as the specification (11.3.1.1) wants.

    Args:
        data: The file.
        picture: The same, decoded by Pillow.

    Returns:
        None if there is no tRNS, or it is a palette's.
    """
    header, named = chunk(data, b"IHDR"), chunk(data, b"tRNS")
    if header is None or named is None or len(header) < 13:
        return None
    depth, kind = header[8], header[9]
    if kind == 0 and len(named) >= 2:
        value = int.from_bytes(named[:2])
        pixels = np.asarray(picture.convert("L") if picture.mode == "1" else picture)
        if depth < 8:
            value = (value & (2**depth - 1)) * 255 // (2**depth - 1)
        grey: NDArray[np.bool_] = pixels == value
        return grey
    if kind == 2 and len(named) >= 6:
        colour = [int.from_bytes(named[k : k + 2]) for k in (0, 2, 4)]
        if depth == 16:
            deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
            if deep is None or deep.dtype != np.uint16:
                raise InputError("this PNG file can't be read at its own depth: export it again")
            pixels = deep[..., 2::-1]
        else:
            pixels = np.asarray(picture.convert("RGB"))
            colour = [value & 255 for value in colour]
        rgb: NDArray[np.bool_] = (pixels == np.array(colour)).all(axis=2)
        return rgb
    return None


def reopened(data: bytes) -> io.BytesIO:
    """Return the file for Pillow, without what it would refuse it for."""
    return io.BytesIO(without_texts(data))
