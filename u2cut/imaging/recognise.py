"""The picture format of some bytes: their first bytes decide, never a file's name."""

from u2cut.errors import InputError
from u2cut.imaging.formats import READ_IN_WORDS

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_AVIF_BRANDS = {b"avif", b"avis"}
_CONTAINER_BRANDS = {b"mif1", b"msf1"}  # the compatible brands say what is inside

_RAW = "a camera's raw file: develop it first, and export it as TIFF, PNG or JPEG"
# Formats that people take for photos, and what to do about them.
_FOREIGN = (
    (b"%PDF", "a PDF: export its page as PNG or JPEG"),
    (b"%!PS", "a PostScript file: export it as PNG or JPEG"),
    (b"8BPS", "a Photoshop document: export it as PNG or TIFF"),
    (b"<svg", "an SVG drawing: export it as PNG"),
    (b"<?xml", "an XML file (an SVG drawing, perhaps): export it as PNG"),
    (b"<!DOCTYPE", "a web page, not a photo: download the photo itself"),
    (b"<html", "a web page, not a photo: download the photo itself"),
    (b"PK\x03\x04", "a ZIP archive: unpack it first"),
    (b"\x1aE\xdf\xa3", "a video: save single frames as PNG first"),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"IIU\0", _RAW),
    (b"\x00\x00\x00\x18ftypcrx ", _RAW),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 file: convert it to PNG or JPEG"),
    (b"\xff\x0a", "a JPEG XL file: convert it to PNG or JPEG"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL file: convert it to PNG or JPEG"),
)


def recognise(data: bytes) -> str:
    """Name the format of a picture: JPEG, PNG, WEBP, TIFF, BMP, GIF, AVIF or HEIC.

    Args:
        data: A whole file, or at least its first 256 bytes.

    Raises:
        InputError: The data is empty, or no picture that u2cut reads.
    """
    if not data:
        raise InputError("the file is empty: copy or download it again")
    for signature, name in _SIGNATURES:
        if data.startswith(signature):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if brand := _ftyp_format(data):
        return brand
    for signature, what in _FOREIGN:
        if data[:64].lstrip().startswith(signature):
            raise InputError(f"this is {what}")
    if data[4:8] == b"ftyp":
        raise InputError("this is a video: save single frames as PNG first")
    if not data[:256].strip(b"\0"):
        raise InputError("not a picture but zeros, as after a broken copy: copy it again")
    raise InputError(f"not a picture that u2cut reads ({READ_IN_WORDS})")


def _ftyp_format(data: bytes) -> str | None:
    """Tell AVIF from HEIC by the brands of the ``ftyp`` box (ISO/IEC 14496-12, 4.3)."""
    if data[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(data[:4]), 256)
    compatible = {data[i : i + 4] for i in range(16, end - 3, 4)}
    brands = [data[8:12]]
    if data[8:12] in _CONTAINER_BRANDS:
        brands.extend(compatible)
    if not _AVIF_BRANDS.isdisjoint(brands):
        return "AVIF"
    if not _HEIC_BRANDS.isdisjoint(brands) or data[8:12] in _CONTAINER_BRANDS:
        return "HEIC"
    return None
