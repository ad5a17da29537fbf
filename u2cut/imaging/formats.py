"""The picture formats, in one table: which endings are read, which are written, and as what.

Nothing heavy is imported here.
"""

from enum import StrEnum
from pathlib import Path
from typing import Final

from u2cut.errors import UsageError, printable


class Format(StrEnum):
    """A format that may be written."""

    PNG = "png"
    WEBP = "webp"
    TIFF = "tiff"
    AVIF = "avif"
    JPG = "jpg"


# Endings that may be written; without the dot, other names of the formats.
WRITTEN: Final = {
    ".png": Format.PNG,
    ".webp": Format.WEBP,
    ".tif": Format.TIFF,
    ".tiff": Format.TIFF,
    ".avif": Format.AVIF,
    ".jpg": Format.JPG,
    ".jpeg": Format.JPG,
}
# Endings that a folder is searched for.
# fmt: off
READ: Final = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif",
    ".avif", ".heic", ".heif",
))
# fmt: on
READ_IN_WORDS: Final = (
    "JPEG, PNG, WebP, TIFF, BMP, GIF and AVIF, and HEIC with the extra u2cut[heic]"
)


def format_of(path: str | Path) -> Format | None:
    """Return the format that a path's ending names; None if it names none that is written."""
    return WRITTEN.get(Path(path).suffix.lower())


def parse_format(text: str) -> Format:
    """Read a format's name: "png", "JPEG", "tif".

    Raises:
        UsageError: No such format is written.
    """
    found = WRITTEN.get(f".{text.lower()}")
    if found is None:
        raise UsageError(f"--format {printable(text)}: give one of {', '.join(Format)}")
    return found
