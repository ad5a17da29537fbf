"""The metadata of a photo's file: author, copyright, date, description, camera.

Read from EXIF, and from XMP, IPTC and PNG texts where EXIF is silent; written as one EXIF block,
which every format here can hold. Left out: what is about the pixels of the old file (orientation,
sizes, colour space), previews, the makers' own blocks; and the place, unless it is asked for.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final
from xml.etree import ElementTree

from PIL import ExifTags, Image, ImageFile, IptcImagePlugin, TiffTags

_EXIF, _GPS = ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo
_DESCRIPTION, _ARTIST, _COPYRIGHT, _DATE = 0x10E, 0x13B, 0x8298, 0x132
# Of the first IFD; all others are about the old file's pixels, or are unknown.
_KEPT: Final = frozenset((
    _DESCRIPTION, 0x10F, 0x110, 0x131, _DATE, _ARTIST, _COPYRIGHT,  # make, model, software
    0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F, 0x4746, 0x4749,  # Windows' title ..., rating
))  # fmt: skip
# Of the Exif IFD: colour space, the pixels' sizes, interoperability, related sound, maker's note.
_ABOUT_PIXELS: Final = frozenset((0xA001, 0xA002, 0xA003, 0xA004, 0xA005, 0x927C))
_LONGEST: Final = 60_000  # bytes: a JPEG segment holds 65,533
LONGEST_TEXT: Final = 1 << 20  # bytes of XMP
_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_DC: Final = "{http://purl.org/dc/elements/1.1/}"
_XMP_TAGS: Final = {f"{_DC}creator": _ARTIST, f"{_DC}rights": _COPYRIGHT,
                    f"{_DC}description": _DESCRIPTION}  # fmt: skip
_IPTC_TAGS: Final = {(2, 80): _ARTIST, (2, 116): _COPYRIGHT, (2, 120): _DESCRIPTION}
_PNG_TEXTS: Final = {
    "Author": _ARTIST,
    "Copyright": _COPYRIGHT,
    "Description": _DESCRIPTION,
    "Title": _DESCRIPTION,
}

Tags = dict[int, object]


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a photo's file, by EXIF tags.

    Attributes:
        base: Of the first IFD.
        exif: Of the Exif IFD.
        gps: Of the GPS IFD.
    """

    base: Tags
    exif: Tags
    gps: Tags

    def __bool__(self) -> bool:
        """Return whether it says anything."""
        return bool(self.base or self.exif or self.gps)


def read_metadata(
    file: ImageFile.ImageFile | Image.Image, texts: Mapping[str, str] | None = None
) -> Metadata | None:
    """Read what a picture that Pillow has opened says; None if that is nothing.

    Broken blocks are passed over: nobody loses a photo by them.

    Args:
        file: The picture.
        texts: A PNG's, by keyword; by default those that Pillow has read.
    """
    base: Tags = {}
    exif: Tags = {}
    gps: Tags = {}
    with contextlib.suppress(Exception):  # Pillow raises anything on hostile blocks
        read = file.getexif()
        base = {tag: value for tag, value in read.items() if tag in _KEPT}
        exif = {
            tag: value
            for tag, value in read.get_ifd(_EXIF).items()
            if tag not in _ABOUT_PIXELS and not isinstance(value, bytes)
        }
        gps = {t: value for t, value in read.get_ifd(_GPS).items() if not isinstance(value, bytes)}
    texts = getattr(file, "text", {}) if texts is None else texts
    xmp = file.info.get("xmp") or texts.get("XML:com.adobe.xmp") or b""
    for others in (
        partial(_from_xmp, xmp),
        partial(_from_iptc, file),
        partial(_from_texts, texts),
    ):
        with contextlib.suppress(Exception):
            base = {**others(), **base}
    found = Metadata(base, exif, gps)
    return found or None


def first_ifd(metadata: Metadata | None) -> Tags:
    """Return what goes into a TIFF's first IFD, as Pillow writes it; libtiff takes no other."""
    return {} if metadata is None else {t: _as_written(t, v) for t, v in metadata.base.items()}


def exif_block(
    metadata: Metadata | None, *, gps: bool = False, dpi: tuple[float, float] | None = None
) -> bytes | None:
    """Return an EXIF block, from ``II*`` on; None without anything to say.

    Args:
        metadata: What it says.
        gps: Whether it may say where the photo was taken.
        dpi: Resolution in pixels per inch, for formats that have no other place for it.
    """
    block = Image.Exif()
    if metadata is not None:
        for tag, value in metadata.base.items():
            block[tag] = _as_written(tag, value)
        if metadata.exif:
            block._ifds[_EXIF] = dict(metadata.exif)
        if gps and metadata.gps:
            block._ifds[_GPS] = dict(metadata.gps)
    if dpi:
        block[0x11A], block[0x11B] = dpi
        block[0x128] = 2  # ResolutionUnit: inch
    if not len(block) and not block._ifds:
        return None
    try:
        data = block.tobytes().removeprefix(b"Exif\x00\x00")
    except Exception:  # values of types that their tags can't have
        return exif_block(_plain(metadata), dpi=dpi) if metadata != _plain(metadata) else None
    if metadata is not None and len(data) > _LONGEST:
        short = Metadata({t: v for t, v in metadata.base.items() if len(str(v)) < 2000}, {}, {})
        return exif_block(short, dpi=dpi) if metadata != short else None
    return data


def _plain(metadata: Metadata | None) -> Metadata | None:
    """Return the texts of the first IFD alone."""
    if metadata is None:
        return None
    return Metadata({t: v for t, v in metadata.base.items() if isinstance(v, str)}, {}, {})


def _as_written(tag: int, value: object) -> object:
    """Return a value as Pillow writes it unharmed: it would turn letters beyond ASCII into "?".

    Pillow reads texts as Latin-1, whatever they are, so this gives the bytes back as they were.
    """
    if isinstance(value, str) and TiffTags.lookup(tag).type == TiffTags.ASCII:
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return value.encode()
    return value


def _from_xmp(data: bytes | str) -> Tags:
    """Return who made it, whose it is and what it shows, as XMP says."""
    data = data.encode() if isinstance(data, str) else data
    if not data or len(data) > LONGEST_TEXT or b"<!" in data.replace(b"<!--", b""):
        return {}
    found: Tags = {}
    root = ElementTree.fromstring(data.strip(b"\0 \r\n\t"))  # noqa: S314  (no entities: see above)
    for element in root.iter():
        tag = _XMP_TAGS.get(element.tag)
        if tag is not None:
            items = [item.text.strip() for item in element.iter(f"{_RDF}li") if item.text]
            text = ", ".join(items[:1] if tag != _ARTIST else items) or (element.text or "").strip()
            if text:
                found[tag] = _utf8(text)
    return found


def _from_iptc(file: Image.Image) -> Tags:
    """Return the same, as the older IPTC block says."""
    if not isinstance(file, ImageFile.ImageFile):
        return {}
    entries: Mapping[tuple[int, int], bytes | list[bytes]] = IptcImagePlugin.getiptcinfo(file) or {}
    found: Tags = {}
    for key, tag in _IPTC_TAGS.items():
        value = entries.get(key)
        if value:
            texts = value if isinstance(value, list) else [value]
            found[tag] = ", ".join(text.decode("latin-1") for text in texts)
    return found


def _from_texts(texts: Mapping[str, str]) -> Tags:
    """Return the same, as a PNG's texts say."""
    return {tag: _utf8(str(texts[key])) for key, tag in _PNG_TEXTS.items() if texts.get(key)}


def _utf8(text: str) -> str:
    """Return a text as Pillow would have read its UTF-8 from EXIF."""
    return text.encode().decode("latin-1")
