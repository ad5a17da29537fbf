"""Files from strangers: each one decodes or raises InputError, soon and in bounded memory."""

import io
import random
import resource
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from u2cut.errors import InputError
from u2cut.imaging.decode import decode

_LIMIT = 1_000_000  # pixels
_PATIENCE = 10.0  # seconds a file


def _save(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, format, **options)
    return file.getvalue()


def _picture() -> Image.Image:
    rng = np.random.default_rng(7)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return coarse.resize((64, 48), Image.Resampling.BICUBIC)


def _corpus() -> dict[str, bytes]:
    """Small files of every format and of the odder kinds of each."""
    rgb = _picture()
    rgba = rgb.copy()
    rgba.putalpha(rgb.convert("L"))
    grey16 = Image.fromarray(np.asarray(rgb.convert("L"), np.uint16) * 257)
    exif = Image.Exif()
    exif[0x112], exif[0x11A], exif[0x11B] = 6, 300.0, 300.0

    def several(format: str) -> bytes:
        frames = [rgb.rotate(90 * i) for i in range(3)]  # Pillow leaves its mark on those it saves
        return _save(rgb, format, save_all=True, append_images=frames)

    return {
        "jpeg": _save(rgb, "JPEG", exif=exif, icc_profile=b"x" * 500),
        "jpeg progressive": _save(rgb, "JPEG", progressive=True),
        "jpeg cmyk": _save(rgb.convert("CMYK"), "JPEG"),
        "mpo": several("MPO"),
        "png": _save(rgba, "PNG", exif=exif),
        "png palette": _save(rgb.convert("P"), "PNG", transparency=b"\x10" * 40),
        "png 16": _save(grey16, "PNG"),
        "apng": several("PNG"),
        "webp": _save(rgba, "WEBP", exif=exif),
        "webp lossless": _save(rgba, "WEBP", lossless=True),
        "webp animation": several("WEBP"),
        "tiff": _save(rgba, "TIFF"),
        "tiff lzw": _save(rgb, "TIFF", compression="tiff_lzw"),
        "tiff deflate": _save(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "tiff jpeg": _save(rgb, "TIFF", compression="jpeg"),
        "tiff float": _save(rgb.convert("F"), "TIFF"),
        "tiff fax": _save(rgb.convert("1"), "TIFF", compression="group4"),
        "tiff pages": several("TIFF"),
        "bmp": _save(rgb, "BMP"),
        "bmp palette": _save(rgb.convert("P"), "BMP"),
        "gif": _save(rgb, "GIF"),
        "gif animation": several("GIF"),
        "avif": _save(rgba, "AVIF", exif=exif),
    }


def _mutated(data: bytes, rng: random.Random) -> bytes:
    """Flip, overwrite, cut, repeat or remove bytes, more often near the header."""
    mutated = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        reach = len(mutated) if rng.random() < 0.5 else min(len(mutated), 200)
        at = rng.randrange(max(1, reach))
        length = rng.choice((1, 2, 4, 4, 32))
        match rng.randrange(6):
            case 0:
                mutated[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                mutated[at : at + length] = rng.randbytes(length)
            case 2:
                extreme = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80"))
                mutated[at : at + length] = extreme * length
            case 3:
                del mutated[at : at + length]
            case 4:
                mutated[at:at] = mutated[at : at + rng.choice((8, 64, 512))]
            case _:
                del mutated[max(8, rng.randrange(len(mutated) + 1)) :]
    return bytes(mutated)


def _survives(data: bytes, what: str) -> bool:
    """Decode within the time limit; True if it worked, False for an InputError."""
    start = time.perf_counter()
    try:
        frame = decode(data, max_pixels=_LIMIT)
    except InputError as error:
        decoded, message = False, str(error)
    else:
        height, width = frame.size
        assert frame.image.shape == (height, width, 3), what
        assert frame.image.dtype == np.uint8, what
        if frame.alpha is not None:
            assert frame.alpha.shape == (height, width), what
            assert 0 <= frame.alpha.min() <= frame.alpha.max() <= 1, what
        decoded, message = True, ""
    assert message.isprintable(), what
    assert time.perf_counter() - start < _PATIENCE, what
    return decoded


def _fuzz(count: int, seed: int) -> None:
    rng = random.Random(seed)
    corpus = _corpus()
    names = list(corpus)
    decoded = 0
    for i in range(count):
        name = names[i % len(names)]
        decoded += _survives(_mutated(corpus[name], rng), f"{name}, seed {seed}, file {i}")
    assert 0.02 * count < decoded < 0.98 * count  # or the mutations are too rough, or too mild


def test_mutated_files_decode_or_raise_an_input_error(capfd: pytest.CaptureFixture[str]) -> None:
    _fuzz(400, seed=1)
    out, err = capfd.readouterr()
    assert out == ""
    assert "Warning" not in err  # libtiff prints its own complaints, and nothing else may


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_mutated_files_in_bounded_memory() -> None:
    _fuzz(2_000, seed=2)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _fuzz(8_000, seed=3)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 64 * 1024  # kB


def _png(width: int, height: int, *chunks: tuple[bytes, bytes], rows: bytes = b"") -> bytes:
    """An 8-bit RGB PNG with these chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in body
    )


_ROWS = (b"\0" + b"\x10\x20\x30" * 4) * 4
_HUGE = b"k\0\0" + zlib.compress(bytes(200_000_000), 9)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_refused(format: str, share: float) -> None:
    data = _save(_picture().resize((200, 150)), format)
    with pytest.raises(InputError):
        decode(data[: int(len(data) * share)], max_pixels=_LIMIT)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("least_size", [None, (20, 20)])
def test_a_jpeg_that_ends_early_with_an_end_marker_is_refused(
    mode: str, least_size: tuple[int, int] | None
) -> None:
    data = _save(_picture().resize((203, 157)).convert(mode), "JPEG")
    with pytest.raises(InputError, match="missing"):
        decode(data[: len(data) * 2 // 3] + b"\xff\xd9", max_pixels=_LIMIT, least_size=least_size)


@pytest.mark.parametrize("least_size", [None, (20, 20)])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_whole_jpeg_that_is_grey_at_the_bottom_is_read(
    progressive: bool, least_size: tuple[int, int] | None
) -> None:
    pixels = np.full((157, 203, 3), 128, np.uint8)
    pixels[:48] = np.asarray(_picture().resize((203, 48)))
    data = _save(Image.fromarray(pixels), "JPEG", progressive=progressive)
    frame = decode(data, max_pixels=_LIMIT, least_size=least_size)
    assert (frame.image[-1] == 128).all()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (bytes(4096), "zeros"),
        (b"not a picture" * 100, "not a picture"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04" + bytes(60), "ZIP"),
        (b"\xff\xd8\xff", "JPEG"),
    ],
)
def test_what_is_no_picture_is_named(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(data, max_pixels=_LIMIT)


@pytest.mark.parametrize(
    "data",
    [
        _png(65535, 65535),
        _png(2**31 - 1, 1),
        b"GIF89a"
        + struct.pack("<HH", 65535, 65535)
        + bytes(3)
        + b",\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
        b"GIF89a" + struct.pack("<HH", 1, 1) + bytes(3) + b",\0\0\0\0\xff\xff\xff\xff\0\x08\0;",
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 99, 0, 54, 40, 65535, 65535, 1, 24, *[0] * 6),
        b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\xff\xff\xff\xff\0ANIM\6\0\0\0" + bytes(6),
    ],
    ids=["png", "png-wide", "gif", "gif-frame", "bmp", "webp"],
)
def test_a_huge_picture_in_a_small_file_is_refused_before_it_is_decoded(data: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match="pixels"):
        decode(data, max_pixels=300_000_000)
    assert time.perf_counter() - start < 1


def test_max_pixels_is_the_last_size_that_is_read() -> None:
    data = _save(_picture(), "PNG")
    assert decode(data, max_pixels=64 * 48).size == (48, 64)
    with pytest.raises(InputError, match="--max-pixels"):
        decode(data, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize("megabytes", [20, 150, 280, 420])
def test_too_little_memory_for_a_photo_is_an_input_error(megabytes: int) -> None:
    script = f"""
import io, resource
from PIL import Image
from u2cut.errors import InputError
from u2cut.imaging.decode import decode

file = io.BytesIO()
Image.new("LA", (8000, 6000)).save(file, "PNG", compress_level=1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20, -1))
try:
    decode(file.getvalue(), max_pixels=10**9)
except InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert "not enough memory" in done.stdout, done.stderr


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP"])
def test_an_exploding_chunk_costs_no_memory(kind: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    frame = decode(_png(4, 4, (kind, _HUGE), rows=_ROWS), max_pixels=_LIMIT)
    assert frame.icc is None
    assert bool(frame.warnings) == (kind == b"iCCP")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_broken_or_oversized_icc_profile_costs_a_warning() -> None:
    for profile in (b"junk" * 100, b"junk" * 2_000_000):
        frame = decode(_save(_picture(), "JPEG", icc_profile=profile), max_pixels=_LIMIT)
        assert frame.icc is None
        assert "ICC" in frame.warnings[0]


def test_a_broken_exif_block_costs_the_photo_nothing() -> None:
    for block in (b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60_000), b"Exif\0\0" + b"\xff" * 999):
        frame = decode(_save(_picture(), "JPEG", exif=block), max_pixels=_LIMIT)
        assert frame.size == (48, 64)


def test_a_tiff_whose_pages_go_in_circles_is_read_once() -> None:
    data = bytearray(_save(_picture(), "TIFF"))
    directory = struct.unpack_from("<I", data, 4)[0]
    entries = struct.unpack_from("<H", data, directory)[0]
    struct.pack_into("<I", data, directory + 2 + 12 * entries, directory)
    assert decode(bytes(data), max_pixels=_LIMIT).size == (48, 64)


def test_of_an_endless_gif_the_first_frame_is_read() -> None:
    frames = [Image.effect_noise((64, 48), i) for i in (20, 60, 90)]
    data = _save(frames[0], "GIF", save_all=True, append_images=frames[1:])
    start = data.index(b"\x21\xf9")
    started = time.perf_counter()
    frame = decode(data[:-1] + data[start:-1] * 2000, max_pixels=_LIMIT)
    assert time.perf_counter() - started < 1
    assert frame.warnings == ("it has more than one frame: only the first one is used",)
    np.testing.assert_array_equal(frame.image[..., 0], np.asarray(frames[0]))


@pytest.mark.parametrize("values", [np.nan, np.inf, -np.inf, 3e38, -3e38])
def test_floats_that_are_no_grey_values_are_survived(values: float) -> None:
    pixels = np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)
    pixels[:3] = values
    pixels[3] = 3e38
    assert decode(_save(Image.fromarray(pixels), "TIFF"), max_pixels=_LIMIT).size == (48, 64)


def test_mutated_heic_files_decode_or_raise_an_input_error() -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(_picture()).save(file)
    assert _survives(file.getvalue(), "whole")
    rng = random.Random(4)
    for i in range(100):
        _survives(_mutated(file.getvalue(), rng), f"HEIC, file {i}")


def test_a_photo_with_an_archive_behind_it_is_a_photo() -> None:
    data = _save(_picture(), "JPEG")
    polyglot = decode(data + b"PK\x03\x04" + bytes(1000), max_pixels=_LIMIT)
    np.testing.assert_array_equal(polyglot.image, decode(data, max_pixels=_LIMIT).image)
