import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from u2cut.errors import OutputError
from u2cut.imaging.decode import decode
from u2cut.imaging.encode import encode
from u2cut.imaging.formats import Format

SHAPES = {"L": (24, 32), "RGB": (24, 32, 3), "RGBA": (24, 32, 4)}


def smooth(mode: str) -> np.ndarray:
    y, x = np.mgrid[:24, :32]
    channels = (x * 8, y * 10, 255 - x * 4 - y * 5, np.minimum(255, 40 + x * 8))
    pixels = np.stack(channels, axis=-1).astype(np.uint8)
    return pixels[..., 0].copy() if mode == "L" else pixels[..., : len(mode)].copy()


def reopened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """Any shape and kind: noise, few colours, even areas, ramps."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    channels = draw(st.sampled_from([(), (3,), (4,)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    high = draw(st.sampled_from([1, 2, 5, 256]))
    pixels = rng.integers(0, high, (height, width, *channels), dtype=np.uint8)
    return (
        pixels.cumsum(draw(st.sampled_from([0, 1])), dtype=np.uint8)
        if draw(st.booleans())
        else pixels
    )


@settings(max_examples=100, deadline=None)
@given(pictures(), st.none() | st.integers(0, 9))
def test_png_gives_every_pixel_back(pixels: np.ndarray, compression: int | None) -> None:
    image = reopened(encode(pixels, "png", compression=compression))
    assert image.mode == {2: "L", 3: "RGB"}.get(pixels.ndim, "") or image.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("compression", [None, 0, 1, 9])
@pytest.mark.parametrize("noisy", [True, False])
def test_large_pngs_are_joined_of_strips_that_any_reader_reads(
    compression: int | None, noisy: bool
) -> None:
    rng = np.random.default_rng(3)
    shape = (900, 1100, 4)  # 4 MB, so several strips
    pixels = rng.integers(0, 256, shape, dtype=np.uint8) if noisy else np.zeros(shape, np.uint8)
    pixels[100:200, 50:90] = 77
    data = encode(pixels, "png", compression=compression)
    np.testing.assert_array_equal(np.asarray(reopened(data)), pixels)
    bgra = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA), pixels)


def test_png_checksums_hold() -> None:
    data = encode(smooth("RGBA"), "png", icc=b"x" * 300, dpi=(72, 72))
    Image.open(io.BytesIO(data)).verify()
    stream = b"".join(body for kind, body in chunks(data) if kind == b"IDAT")
    assert len(zlib.decompress(stream)) == 24 * (1 + 32 * 4)


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, at = [], 8
    while at < len(data):
        length = int.from_bytes(data[at : at + 4])
        found.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


@pytest.mark.parametrize("kind", ["photo", "drawing", "mask"])
def test_png_is_not_much_larger_than_pillows(kind: str) -> None:
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:400, :500]
    disc = np.hypot(y - 200, x - 250)
    if kind == "photo":
        pixels = np.stack((x / 2, y / 2, disc / 2), -1) + rng.normal(0, 3, (400, 500, 3))
    elif kind == "drawing":
        pixels = np.where((disc // 40 % 2 > 0)[..., None], (200, 30, 60), (255, 255, 250))
    else:
        pixels = (180 - disc) * 20
    pixels = pixels.clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=6)
    assert len(encode(pixels, "png")) < 1.2 * len(file.getvalue())


@pytest.mark.parametrize("mode", SHAPES)
@pytest.mark.parametrize("format", ["tiff", "webp"])
def test_tiff_and_webp_at_quality_100_are_lossless(format: str, mode: str) -> None:
    pixels = smooth(mode)
    image = reopened(encode(pixels, format, quality=100))
    np.testing.assert_array_equal(np.asarray(image.convert(mode)), pixels)


@pytest.mark.parametrize("mode", SHAPES)
@pytest.mark.parametrize("format", ["webp", "avif", "jpg"])
def test_lossy_formats_stay_close(format: str, mode: str) -> None:
    if (format, mode) == ("jpg", "RGBA"):
        mode = "RGB"
    pixels = smooth(mode)
    image = np.asarray(reopened(encode(pixels, format)).convert(mode))
    assert np.abs(image.astype(int) - pixels).mean() < 4


def test_lossy_webp_keeps_alpha_exactly() -> None:
    pixels = smooth("RGBA")
    alpha = np.asarray(reopened(encode(pixels, "webp")))[..., 3]
    np.testing.assert_array_equal(alpha, pixels[..., 3])


@pytest.mark.parametrize("format", ["webp", "avif", "jpg"])
def test_a_lower_quality_makes_a_smaller_file(format: str) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert len(encode(pixels, format, quality=30)) < len(encode(pixels, format, quality=90))


@pytest.mark.parametrize("format", ["png", "tiff", "webp", "avif"])
def test_more_compression_makes_no_larger_file(format: str) -> None:
    pixels = np.tile(smooth("RGB"), (3, 3, 1))
    fast, small = (len(encode(pixels, format, compression=c)) for c in (0, 9))
    assert small < fast


@pytest.mark.parametrize("format", list(Format))
def test_profile_and_resolution_are_kept(format: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(smooth("RGB"), format, icc=icc, dpi=(300, 150))
    frame = decode(data, max_pixels=10_000)
    assert frame.icc == icc
    np.testing.assert_allclose(frame.dpi, (300, 150), atol=0.1)


@pytest.mark.parametrize("format", list(Format))
def test_a_grey_picture_gets_no_profile_of_colours(format: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(smooth("L"), format, icc=icc)
    assert "icc_profile" not in Image.open(io.BytesIO(data)).info


def test_a_view_of_a_larger_picture_is_encoded() -> None:
    pixels = smooth("RGBA")[3:20:2, 5:30]
    for format in ("png", "tiff"):
        np.testing.assert_array_equal(np.asarray(reopened(encode(pixels, format))), pixels)


def test_jpg_refuses_transparency() -> None:
    with pytest.raises(OutputError, match="no transparency"):
        encode(smooth("RGBA"), "jpg")


@pytest.mark.parametrize("format", ["webp", "jpg", "avif"])
def test_a_picture_too_long_for_its_format_is_refused(format: str) -> None:
    with pytest.raises(OutputError, match="--format png"):
        encode(np.zeros((1, 70_000, 3), np.uint8), format)
