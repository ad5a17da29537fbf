"""What a file says beside its pixels: kept, but for what is about old pixels, and for the place."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, IptcImagePlugin, PngImagePlugin

from u2cut.imaging.decode import Frame, decode
from u2cut.imaging.encode import encode
from u2cut.imaging.metadata import Metadata, exif_block, read_metadata

ARTIST, COPYRIGHT, DESCRIPTION, DATE, ORIENTATION, SOFTWARE = (
    0x13B,
    0x8298,
    0x10E,
    0x132,
    0x112,
    0x131,
)
TAKEN, MAKER_NOTE, SPACE, EXPOSURE = 0x9003, 0x927C, 0xA001, 0x829A
FORMATS = ("png", "jpg", "webp", "tiff", "avif")


def photo(kind: str = "JPEG", **said: object) -> bytes:
    exif = Image.Exif()
    exif[ARTIST] = "Jörg Müller".encode()
    exif[COPYRIGHT] = b"(c) 2026 Shop"
    exif[DESCRIPTION] = b"A blue mug"
    exif[DATE] = b"2026:11:01 10:00:00"
    exif[ORIENTATION] = 6
    exif.get_ifd(0x8769).update(
        {TAKEN: "2026:10:31 09:00:00", SPACE: 1, MAKER_NOTE: b"secret", EXPOSURE: 0.008}
    )
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.0), 3: "E", 4: (2.0, 17.0, 40.0)})
    file = io.BytesIO()
    picture = Image.fromarray(np.full((40, 60, 3), (90, 120, 200), np.uint8))
    picture.save(file, kind, **{"exif": exif, **said})
    return file.getvalue()


def written(data: bytes, format: str, *, gps: bool = False) -> Image.Exif:
    frame = decode(data, max_pixels=10**6)
    result = encode(frame.image, format, dpi=frame.dpi, metadata=frame.metadata, gps=gps)
    with Image.open(io.BytesIO(result)) as opened:
        opened.load()
        return opened.getexif()


def utf8(text: object) -> str:
    return str(text).encode("latin-1").decode()


@pytest.mark.parametrize("format", FORMATS)
def test_author_copyright_description_and_dates_are_kept(format: str) -> None:
    exif = written(photo(), format)
    assert utf8(exif[ARTIST]) == "Jörg Müller"
    assert (exif[COPYRIGHT], exif[DESCRIPTION]) == ("(c) 2026 Shop", "A blue mug")
    assert exif[DATE] == "2026:11:01 10:00:00"
    if format == "tiff":
        return  # libtiff writes the first IFD only
    own = exif.get_ifd(0x8769)
    assert own[TAKEN] == "2026:10:31 09:00:00"
    assert float(own[EXPOSURE]) == pytest.approx(0.008)


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_about_the_old_pixels_is_not(format: str) -> None:
    exif = written(photo(), format)
    assert exif.get(ORIENTATION, 1) == 1  # it was turned upright
    own = exif.get_ifd(0x8769)
    assert MAKER_NOTE not in own
    assert SPACE not in own


@pytest.mark.parametrize("format", [format for format in FORMATS if format != "tiff"])
def test_the_place_is_kept_on_request_only(format: str) -> None:
    assert not written(photo(), format).get_ifd(0x8825)
    place = written(photo(), format, gps=True).get_ifd(0x8825)
    assert place[1] == "N"
    assert [float(v) for v in place[2]] == [48, 51, 29]


XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:creator><rdf:Seq><rdf:li>Zoë</rdf:li>
 <rdf:li>Max</rdf:li></rdf:Seq></dc:creator><dc:rights><rdf:Alt><rdf:li xml:lang="x-default">Mine
 </rdf:li></rdf:Alt></dc:rights></rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_xmp_speaks_where_exif_is_silent(kind: str) -> None:
    said: dict[str, object] = {"exif": Image.Exif(), "xmp": XMP.encode()}
    if kind == "PNG":
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP)
        said = {"exif": Image.Exif(), "pnginfo": texts}
    if kind == "TIFF":
        said = {"exif": Image.Exif(), "tiffinfo": {700: XMP.encode()}}
    exif = written(photo(kind, **said), "png")
    assert utf8(exif[ARTIST]) == "Zoë, Max"
    assert exif[COPYRIGHT] == "Mine"
    said["exif"] = exif_of("Exif's own")
    if kind == "TIFF":
        said["tiffinfo"] = {700: XMP.encode(), ARTIST: "Exif's own"}
    assert utf8(written(photo(kind, **said), "png")[ARTIST]) == "Exif's own"


def exif_of(artist: str) -> Image.Exif:
    exif = Image.Exif()
    exif[ARTIST] = artist
    return exif


def test_iptc_speaks_where_exif_is_silent() -> None:
    entry = b"\x1c\x02\x50\x00\x05Agnes" + b"\x1c\x02\x74\x00\x06Agency"
    block = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00" + len(entry).to_bytes(4) + entry
    block += b"\0" * (len(entry) % 2)
    segment = b"\xff\xed" + (len(block) + 2).to_bytes(2) + block
    data = photo(exif=Image.Exif())
    data = data[:2] + segment + data[2:]
    with Image.open(io.BytesIO(data)) as opened:
        assert IptcImagePlugin.getiptcinfo(opened)  # the file is what it should be
    exif = written(data, "jpg")
    assert (exif[ARTIST], exif[COPYRIGHT]) == ("Agnes", "Agency")


def test_a_pngs_texts_are_kept() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Émile")
    texts.add_itxt("Copyright", "ours ©")
    exif = written(photo("PNG", exif=Image.Exif(), pnginfo=texts), "webp")
    assert (utf8(exif[ARTIST]), utf8(exif[COPYRIGHT])) == ("Émile", "ours ©")


@pytest.mark.parametrize(
    "xmp",
    [
        b"<x",
        b"\xff\xfe\x00",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>',
        b"<x>" * 100_000,
    ],
)
def test_broken_or_hostile_blocks_cost_nothing(xmp: bytes) -> None:
    data = photo(xmp=xmp) if len(xmp) < 60_000 else photo("PNG", xmp=xmp)
    assert written(data, "png")[COPYRIGHT] == "(c) 2026 Shop"


def test_values_of_odd_types_and_sizes_cost_themselves_only() -> None:
    odd = Metadata({COPYRIGHT: "mine", DATE: object()}, {TAKEN: [object()]}, {})
    block = exif_block(odd)
    assert block is not None
    assert b"mine" in block
    long = Metadata({COPYRIGHT: "mine", DESCRIPTION: "x" * 100_000}, {}, {})
    block = exif_block(long)
    assert block is not None
    assert len(block) < 65_000
    assert b"mine" in block


def test_a_file_that_says_nothing_gets_no_block() -> None:
    with Image.new("RGB", (4, 4)) as picture:
        assert read_metadata(picture) is None
    plain = encode(np.zeros((4, 4, 3), np.uint8), "png")
    assert b"eXIf" not in plain
    assert Frame(np.zeros((4, 4, 3), np.uint8)).metadata is None


def test_the_command_keeps_strips_and_keeps_the_place(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    command = [sys.executable, "-m", "u2cut", "remove", tmp_path / "a.jpg", "--offline", "-q"]
    found = {}
    for name, words in (("kept", []), ("stripped", ["--strip"]), ("place", ["--keep-gps"])):
        out = tmp_path / f"{name}.png"
        subprocess.run([*command, "--model", "u2netp", "-o", out, *words], check=True)
        with Image.open(out) as opened:
            found[name] = opened.getexif()
            found[name].get_ifd(0x8825)
    assert found["kept"][COPYRIGHT] == found["place"][COPYRIGHT] == "(c) 2026 Shop"
    assert COPYRIGHT not in found["stripped"]
    assert not found["kept"].get_ifd(0x8825)
    assert found["place"].get_ifd(0x8825)
    tiff = [*command, "-o", tmp_path / "a.tif", "--keep-gps"]
    assert b"tiff holds no place" in subprocess.run(tiff, capture_output=True).stderr
