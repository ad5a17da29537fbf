"""Kinds of files that other tools were reported to read wrong: what they mean, and what comes out.

Each file is made here; where its meaning is a colour, LittleCMS says which.
"""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from u2cut.errors import InputError
from u2cut.imaging import colour
from u2cut.imaging.decode import Frame, decode

RNG = np.random.default_rng(0)
PHOTO = RNG.integers(0, 256, (24, 32, 3)).astype(np.uint8)


def read(data: bytes) -> Frame:
    return decode(data, max_pixels=10**7)


def in_srgb(frame: Frame) -> NDArray[np.int64]:
    return colour.convert(frame.image, frame.icc, None).astype(np.int64)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunks(png: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """Put chunks behind IHDR."""
    return png[:33] + b"".join(chunk(*one) for one in extra) + png[33:]


def png(pixels: NDArray[np.generic], depth: int, kind: int, *extra: tuple[bytes, bytes]) -> bytes:
    """Write a PNG of any depth by hand, unfiltered."""
    height, width = pixels.shape[:2]
    if depth < 8:
        bits = np.unpackbits(pixels.astype(np.uint8)[..., None], axis=2)[..., -depth:]
        rows = np.packbits(bits.reshape(height, width * depth), axis=1)
    else:
        rows = pixels.astype(">u2" if depth == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    head = struct.pack(">2I5B", width, height, depth, kind, 0, 0, 0)
    body = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in body)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_is_compared_at_its_own_depth(depth: int) -> None:
    pixels = RNG.integers(0, 2**depth, (24, 32))
    wanted = int(pixels[5, 7])
    if depth == 16:
        pixels[5, 8] = wanted ^ 1  # another grey, though not in 8 bits
    frame = read(png(pixels, depth, 0, (b"tRNS", struct.pack(">H", wanted))))
    assert frame.alpha is not None
    assert np.array_equal(frame.alpha == 0, pixels == wanted)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_transparent_colour_is_compared_at_its_own_depth(depth: int) -> None:
    pixels = RNG.integers(0, 2**depth, (24, 32, 3))
    wanted = pixels[5, 7].copy()
    pixels[5, 8] = wanted
    pixels[5, 8, 2] ^= 1
    frame = read(png(pixels, depth, 2, (b"tRNS", struct.pack(">3H", *wanted.tolist()))))
    assert frame.alpha is not None
    assert np.array_equal(frame.alpha == 0, (pixels == wanted).all(axis=2))


def test_a_palettes_transparency_is_its_own() -> None:
    picture = Image.fromarray(PHOTO).quantize(8)
    frame = read(encoded(picture, transparency=bytes([0, 128])))
    index = np.asarray(picture)
    assert frame.alpha is not None
    assert np.array_equal(frame.alpha == 0, index == 0)
    assert np.allclose(frame.alpha[index == 1], 128 / 255)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_a_long_text_is_no_damage(kind: bytes) -> None:
    words = b"a" * (3 << 20)
    body = {
        b"tEXt": b"Comment\0" + words,
        b"zTXt": b"Comment\0\0" + zlib.compress(words),
        b"iTXt": b"Comment\0\x01\0\0\0" + zlib.compress(words),
    }[kind]
    assert (read(with_chunks(encoded(Image.fromarray(PHOTO)), (kind, body))).image == PHOTO).all()


def test_a_long_profile_is_kept_up_to_a_limit() -> None:
    base = colour.adobe_rgb()
    for size, kept in ((2 << 20, True), (5 << 20, False)):
        profile = struct.pack(">I", size) + base[4:] + bytes(size - len(base))
        data = encoded(Image.fromarray(PHOTO))
        frame = read(with_chunks(data, (b"iCCP", b"x\0\0" + zlib.compress(profile))))
        assert (frame.image == PHOTO).all()
        assert (frame.icc == profile) == kept
        assert bool(frame.warnings) != kept


def grey_profile() -> bytes:
    """A grey profile: the RGB one's header and curve, of another space."""
    curve = b"curv" + bytes(4) + struct.pack(">I", 0) + bytes(0)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    base = bytearray(colour.adobe_rgb()[:128])
    base[16:20] = b"GRAY"
    start = 128 + 4 + 24
    directory = struct.pack(">I", 2)
    directory += b"wtpt" + struct.pack(">II", start, len(white))
    directory += b"kTRC" + struct.pack(">II", start + len(white), len(curve))
    whole = bytes(base) + directory + white + curve
    return struct.pack(">I", len(whole)) + whole[4:]


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_grey_profile_on_colours_is_dropped_with_a_warning(format: str) -> None:
    quality = {"quality": 100, "lossless": True} if format == "WEBP" else {}
    data = encoded(Image.fromarray(PHOTO), format, icc_profile=grey_profile(), **quality)
    frame = read(data)
    assert frame.icc is None
    assert "profile" in frame.warnings[0]
    assert np.ptp(frame.image.astype(int), axis=2).max() > 50  # colours are left


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_a_profile_of_colours_on_grey_is_dropped_with_a_warning(mode: str) -> None:
    data = encoded(Image.fromarray(PHOTO).convert(mode), icc_profile=colour.adobe_rgb())
    frame = read(data)
    assert frame.icc is None
    assert "profile" in frame.warnings[0]


def test_a_palette_is_of_colours_and_keeps_their_profile() -> None:
    data = encoded(Image.fromarray(PHOTO).quantize(16), icc_profile=colour.adobe_rgb())
    assert read(data).icc == colour.adobe_rgb()


def raw_file(maker: str, *tags: tuple[int, str, int, object], subfile: int = 0) -> bytes:
    """A TIFF file of a maker with pictures inside its first one, as cameras write raw files."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        named = [(271, "s", 0, maker), *tags]
        options = {"photometric": "rgb", "metadata": None}
        writer.write(PHOTO, **options, extratags=named, subifds=1, subfiletype=subfile)
        writer.write(PHOTO, **options)
    return file.getvalue()


def test_camera_raw_is_refused_by_name() -> None:
    nef = raw_file("NIKON", subfile=1)
    dng = raw_file("LEICA", (50706, "B", 4, (1, 4, 0, 0)))
    arw = raw_file("SONY")
    raf, orf = b"FUJIFILMCCD-RAW 0201" + bytes(300), b"IIRO" + bytes(300)
    cr3 = b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(300)
    for data in (nef, dng, arw, raf, orf, cr3):
        with pytest.raises(InputError, match="raw file: develop it"):
            read(data)


def test_a_scanners_tiff_with_a_maker_is_a_photo() -> None:
    assert (read(raw_file("EPSON")).image == PHOTO).all()


P3 = (12, 13, 0, 1)  # cICP: Display P3, sRGB's curve, RGB, full range


def test_code_points_of_p3_keep_their_meaning() -> None:
    """Display P3 (190, 91, 46) is sRGB (205, 83, 28), by CSS Color 4's formulas."""
    flat = np.full((8, 8, 3), (190, 91, 46), np.uint8)
    frame = read(with_chunks(encoded(Image.fromarray(flat)), (b"cICP", bytes(P3))))
    assert (frame.image == flat).all()
    assert np.abs(in_srgb(frame)[0, 0] - (205, 83, 28)).max() <= 1


def test_code_points_come_before_a_profile_and_that_before_gamma() -> None:
    data = encoded(Image.fromarray(PHOTO))
    gamma = (b"gAMA", struct.pack(">I", 100_000))
    packed = (b"iCCP", b"x\0\0" + zlib.compress(colour.adobe_rgb()))
    p3 = read(with_chunks(data, (b"cICP", bytes(P3)))).icc
    assert read(with_chunks(data, (b"cICP", bytes(P3)), packed, gamma)).icc == p3
    assert read(with_chunks(data, packed, gamma)).icc == colour.adobe_rgb()
    assert read(with_chunks(data, (b"sRGB", b"\0"), gamma)).icc is None
    assert read(with_chunks(data, (b"cICP", bytes((1, 13, 0, 1))), packed)).icc is None


def test_gamma_is_honoured() -> None:
    """A linear 128 is sRGB's 188."""
    flat = np.full((8, 8, 3), 128, np.uint8)
    data = encoded(Image.fromarray(flat))
    frame = read(with_chunks(data, (b"gAMA", struct.pack(">I", 100_000))))
    assert np.abs(in_srgb(frame) - 188).max() <= 1
    usual = read(with_chunks(data, (b"gAMA", struct.pack(">I", 45455))))
    assert usual.icc is None


def test_chromaticities_are_honoured() -> None:
    p3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    chunks = (b"gAMA", struct.pack(">I", 45455)), (b"cHRM", struct.pack(">8I", *p3))
    flat = np.full((8, 8, 3), (190, 91, 46), np.uint8)
    frame = read(with_chunks(encoded(Image.fromarray(flat)), *chunks))
    assert np.abs(in_srgb(frame)[0, 0] - (206, 83, 20)).max() <= 1  # 2.2 isn't sRGB's curve
    senseless = (b"cHRM", struct.pack(">8I", *[0] * 8))
    assert (
        read(with_chunks(encoded(Image.fromarray(flat)), chunks[0], senseless)).image == flat
    ).all()


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused_by_name(transfer: int, name: str) -> None:
    data = with_chunks(encoded(Image.fromarray(PHOTO)), (b"cICP", bytes((9, transfer, 0, 1))))
    with pytest.raises(InputError, match=name):
        read(data)


def test_code_points_of_avif_are_read_without_a_profile() -> None:
    data = encoded(Image.fromarray(PHOTO), "AVIF", quality=90)
    at = data.index(b"colrnclx")
    assert read(data).icc is None
    changed = data[: at + 8] + struct.pack(">HH", 12, 13) + data[at + 12 :]
    assert read(changed).icc == colour.from_code_points(12, 13)


def test_adobe_rgb_as_cameras_write_it() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    frame = read(encoded(Image.fromarray(PHOTO), "JPEG", exif=exif.tobytes()))
    assert frame.icc == colour.adobe_rgb()


def test_our_profiles_agree_with_the_published_ones() -> None:
    """An sRGB that was built here is LittleCMS's own, within a step."""
    ours = colour.matrix_profile(colour._SRGB, colour._srgb_curve)
    converted = colour.convert(PHOTO, ours, None).astype(int)
    assert np.abs(converted - PHOTO).max() <= 1
    opened = ImageCms.ImageCmsProfile(io.BytesIO(ours))
    assert opened.profile.xcolor_space.strip() == "RGB"
    assert opened.profile.version == pytest.approx(2.4, abs=0.01)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    ("photometric", "channels", "extra"),
    [
        ("minisblack", 1, []),
        ("miniswhite", 1, []),
        ("minisblack", 2, ["unassalpha"]),
        ("minisblack", 2, ["assocalpha"]),
        ("rgb", 3, []),
        ("rgb", 4, ["unassalpha"]),
        ("rgb", 4, ["assocalpha"]),
    ],
)
def test_the_matrix_of_tiff_kinds(photometric, channels, extra, dtype, planar, compression, order):
    """Written by tifffile; what each means is computed here."""
    top = np.iinfo(dtype).max
    pixels = RNG.integers(top // 4, top + 1, (20, 28, channels)).astype(dtype)
    alpha = None
    if extra:
        pixels[..., -1] = RNG.integers(top // 2, top + 1, (20, 28))
        pixels[3, 4, -1] = 0
        alpha = pixels[..., -1] / top
        if extra == ["assocalpha"]:
            pixels[..., :-1] = np.rint(pixels[..., :-1] * alpha[..., None]).astype(dtype)
    if planar == "separate" and channels == 1:
        pytest.skip("one plane has no order")
    written = np.moveaxis(pixels, -1, 0) if planar == "separate" else pixels
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        written[..., 0] if channels == 1 else written,
        photometric=photometric,
        planarconfig=None if channels == 1 else planar,
        extrasamples=extra or None,
        compression=compression,
        byteorder=order,
        metadata=None,
    )
    frame = read(file.getvalue())
    unit = pixels[..., : len("rgb" if photometric == "rgb" else "g")] / top
    if photometric == "miniswhite":
        unit = 1 - unit
    if extra == ["assocalpha"]:
        unit = np.clip(unit / np.maximum(alpha, 1e-9)[..., None], 0, 1)
    expected = np.broadcast_to(unit * 255, (20, 28, 3))
    seen = np.ones((20, 28), bool) if alpha is None else alpha > 0
    # Pillow unpremultiplies 8 bits in whole numbers.
    assert np.abs(frame.image.astype(float) - expected)[seen].max() <= (3 if extra else 1)
    if alpha is not None:
        assert frame.alpha is not None
        assert np.abs(frame.alpha - alpha).max() < 1 / 250


def test_unsigned_grey_of_32_bits_does_not_wrap() -> None:
    pixels = np.linspace(0, 2**32 - 1, 28 * 20).reshape(20, 28).astype(np.uint32)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="minisblack", metadata=None)
    image = read(file.getvalue()).image[..., 0].astype(int)
    assert (np.diff(image.reshape(-1)) >= 0).all()
    assert (image[0, 0], image[-1, -1]) == (0, 255)


def test_planar_cmyk_of_16_bits_is_what_it_is_in_8() -> None:
    pixels = RNG.integers(0, 256, (20, 28, 4)).astype(np.uint8)
    images = []
    for array, planar in ((pixels, "contig"), (pixels.astype(np.uint16) * 257, "separate")):
        file = io.BytesIO()
        written = np.moveaxis(array, -1, 0) if planar == "separate" else array
        tifffile.imwrite(file, written, photometric="separated", planarconfig=planar, metadata=None)
        images.append(read(file.getvalue()).image.astype(int))
    assert np.abs(images[0] - images[1]).max() <= 1


def test_a_deep_tiff_is_turned_upright() -> None:
    pixels = RNG.integers(0, 65536, (20, 28, 3)).astype(np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, photometric="rgb", metadata=None, extratags=[(274, "H", 1, 6)])
    expected = np.rot90(pixels, -1) / 257
    assert np.abs(read(file.getvalue()).image - expected).max() <= 1


def test_a_ratio_of_sides_is_no_resolution() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, PHOTO, photometric="rgb", resolution=(4, 3), resolutionunit=1)
    assert read(file.getvalue()).dpi is None
    file = io.BytesIO()
    tifffile.imwrite(file, PHOTO, photometric="rgb", resolution=(300, 200), resolutionunit=2)
    assert read(file.getvalue()).dpi == (300, 200)


@pytest.mark.parametrize("key", [(0, 0, 0), (255, 0, 255)])
def test_what_is_hidden_under_alpha_0_is_seen_by_nobody(key: tuple[int, int, int]) -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[..., :3] = key
    rgba[16:48, 16:48] = (90, 160, 40, 255)
    rgba[16:48, 15] = (90, 160, 40, 128)
    frame = read(encoded(Image.fromarray(rgba)))
    assert np.abs(frame.image.astype(int) - (90, 160, 40)).max() <= 2
    over = frame.for_network
    assert np.abs(over[2, 2].astype(int) - 128).max() <= 1
    assert (over[30, 30] == (90, 160, 40)).all()


def test_the_network_sees_srgb() -> None:
    flat = np.full((2000, 3000, 3), (190, 91, 46), np.uint8)
    frame = read(encoded(Image.fromarray(flat), icc_profile=colour.from_code_points(12, 13)))
    assert max(frame.for_network.shape) <= 1280
    assert np.abs(frame.for_network[5, 5].astype(int) - (205, 83, 28)).max() <= 1
    plain = read(encoded(Image.fromarray(flat)))
    assert plain.for_network is plain.image
