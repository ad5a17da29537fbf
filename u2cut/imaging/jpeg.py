"""JPEG files that end early, though with an end marker, as after a careless repair."""

import io

from PIL import Image, JpegImagePlugin

_GREY = 128  # libjpeg's fill for what is missing: all coefficients zero
_END = b"\xff\xd9"
_FILLER = bytes(range(1, 255)) * 64  # decodes to anything but a grey area; holds no marker


def ends_early(data: bytes, photo: Image.Image, draft_size: tuple[int, int] | None) -> bool:
    """Tell whether a part of a decoded JPEG is only libjpeg's grey filling.

    libjpeg fills in silently when the end marker comes too early. A photo may also be grey
    there, so it is decoded again with more data before the marker: that changes what was
    filled in, and nothing else.

    Args:
        data: The file.
        photo: The picture that Pillow made of it.
        draft_size: The (width, height) that Pillow's ``draft`` was given.
    """
    if photo.mode not in ("L", "RGB"):
        return False
    last_row = photo.crop((0, photo.height - 1, photo.width, photo.height))
    if set(last_row.tobytes()) != {_GREY}:
        return False
    end = data.find(_END, _scan_start(data))
    again = JpegImagePlugin.JpegImageFile(io.BytesIO(data[:end] + _FILLER + _END))
    if draft_size:
        again.draft(None, draft_size)
    try:
        again.load()
    except OSError:
        return True
    return again.tobytes() != photo.tobytes()


def _scan_start(data: bytes) -> int:
    """Return where the first scan begins; before it a thumbnail may lie, with its own end."""
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return position
