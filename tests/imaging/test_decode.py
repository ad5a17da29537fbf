import io
import struct
import threading
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from u2cut.errors import InputError
from u2cut.imaging.decode import Frame, decode

LOSSLESS = ("PNG", "TIFF", "BMP")
LOSSY = ("JPEG", "WEBP", "AVIF")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A smooth picture, 40 wide and 30 high, without symmetry."""
    y, x = np.mgrid[:30, :40]
    pixels = np.stack((x * 6, y * 8, 255 - x * 3 - y * 4), axis=-1).astype(np.uint8)
    return Image.fromarray(pixels)


def save(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.copy().save(file, format, **options)
    return file.getvalue()


def read(data: bytes) -> Frame:
    return decode(data, max_pixels=10_000_000)


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_formats_keep_every_pixel(picture: Image.Image, format: str) -> None:
    frame = read(save(picture, format))
    np.testing.assert_array_equal(frame.image, np.asarray(picture))
    assert frame.image.flags.c_contiguous
    assert frame.alpha is None
    assert frame.icc is None
    assert frame.warnings == ()


@pytest.mark.parametrize("format", LOSSY)
def test_lossy_formats_stay_close(picture: Image.Image, format: str) -> None:
    frame = read(save(picture, format, quality=95))
    assert np.abs(frame.image.astype(int) - np.asarray(picture)).mean() < 4


def test_heic_is_read_by_its_extra(picture: Image.Image) -> None:
    heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    heif.from_pillow(picture).save(file, quality=95)
    frame = read(file.getvalue())
    assert np.abs(frame.image.astype(int) - np.asarray(picture)).mean() < 4


def test_heic_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif.as_plugin", None)
    for brands in (b"heic\0\0\0\0mif1heic", b"mif1\0\0\0\0mif1heic"):
        with pytest.raises(InputError, match=r"pip install 'u2cut\[heic\]'"):
            read(b"\0\0\0\x18ftyp" + brands + bytes(100))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_exif_orientation_is_applied(
    picture: Image.Image, format: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    options = {"quality": 95} if format in LOSSY else {}
    data = save(picture, format, exif=exif, **options)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    frame = read(data)
    assert frame.image.flags.c_contiguous
    np.testing.assert_array_equal(frame.image, np.asarray(expected))


def test_alpha_is_turned_with_the_photo(picture: Image.Image) -> None:
    rgba = picture.copy()
    rgba.putalpha(picture.getchannel("R"))
    exif = Image.Exif()
    exif[0x112] = 6
    frame = read(save(rgba, "PNG", exif=exif))
    expected = np.asarray(rgba.transpose(Image.Transpose.ROTATE_270).getchannel("A"))
    np.testing.assert_allclose(frame.alpha, expected / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "format"),
    [
        (m, f)
        for m in ("LA", "RGBA", "PA")
        for f in ("PNG", "TIFF", "WEBP")
        if (m, f) != ("PA", "TIFF")
    ],
)
def test_input_alpha_is_returned(picture: Image.Image, mode: str, format: str) -> None:
    alpha = picture.getchannel("R")
    image = picture.convert("L") if mode == "LA" else picture
    image = image.copy()
    image.putalpha(alpha)
    if mode == "PA":
        image = image.quantize(256)
        alpha = image.convert("RGBA").getchannel("A")
    frame = read(save(image, format, **({"lossless": True} if format == "WEBP" else {})))
    assert frame.alpha is not None
    assert frame.alpha.dtype == np.float32
    np.testing.assert_allclose(frame.alpha, np.asarray(alpha) / 255, atol=1e-6)


def test_a_transparent_colour_is_alpha() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    frame = read(save(palette, "GIF", transparency=1))
    np.testing.assert_array_equal(frame.alpha, [[1, 0]])
    np.testing.assert_array_equal(frame.image[0, 0], [10, 20, 30])


def test_an_opaque_alpha_channel_is_no_alpha(picture: Image.Image) -> None:
    assert read(save(picture.convert("RGBA"), "PNG")).alpha is None


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_scaled_not_clipped(format: str) -> None:
    values = np.array([[0, 257, 25700, 65535]], np.uint16)
    frame = read(save(Image.fromarray(values), format))
    np.testing.assert_array_equal(frame.image[0, :, 1], [0, 1, 100, 255])


def test_big_endian_grey_of_16_bits_is_read() -> None:
    image = Image.frombytes("I;16B", (3, 1), np.array([0, 25700, 65535], ">u2").tobytes())
    np.testing.assert_array_equal(read(save(image, "TIFF")).image[0, :, 0], [0, 100, 255])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([0.0, 25700.0, 65535.0], [0, 100, 255]),
        ([-10.0, 0.0, 10.0], [0, 128, 255]),
        ([np.nan, 0.5, np.inf], [0, 128, 255]),
        ([-np.inf, 0.5, 1.0], [0, 128, 255]),
    ],
)
def test_grey_floats_are_scaled_by_their_range(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    np.testing.assert_array_equal(read(save(image, "TIFF")).image[0, :, 2], expected)


def test_one_bit_pictures_are_black_and_white() -> None:
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    for format in ("PNG", "TIFF", "BMP"):
        np.testing.assert_array_equal(read(save(image, format)).image[..., 0], [[0, 255], [255, 0]])


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile_keeps_its_colours(picture: Image.Image, format: str) -> None:
    options = {"quality": 95} if format == "JPEG" else {}
    frame = read(save(picture.convert("CMYK"), format, **options))
    assert np.abs(frame.image.astype(int) - np.asarray(picture)).mean() < 4


def profile(space: bytes, *tags: tuple[bytes, bytes]) -> bytes:
    """A version 2 ICC profile (ICC.1:2001-04) of a colour space, with these tags."""
    tags = ((b"wtpt", b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)), *tags)
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags:
        table += struct.pack(">4sII", name, offset + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    pcs, kind = (b"XYZ ", b"mntr") if space == b"GRAY" else (b"Lab ", b"prtr")
    header = struct.pack(">I4x4s4s4s4s", offset + len(body), b"\x02\x40\0\0", kind, space, pcs)
    header = header.ljust(36, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


def cmyk_profile() -> bytes:
    """Ink, any ink, is mid-grey (L* = 50); paper is white."""
    clut = bytes((255, 128, 128)) + bytes((128, 128, 128)) * 15
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + identity + ramp * 4 + clut + ramp * 3
    return profile(b"CMYK", (b"A2B0", lut))


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_is_converted_by_its_profile_which_is_then_dropped(format: str) -> None:
    image = Image.new("CMYK", (16, 8))
    image.paste((255, 0, 0, 0), (8, 0, 16, 8))
    frame = read(save(image, format, icc_profile=cmyk_profile()))
    np.testing.assert_allclose(frame.image[4, 2], 255, atol=2)
    np.testing.assert_allclose(frame.image[4, 13], 119, atol=3)  # sRGB of L* = 50
    assert frame.icc is None
    assert frame.warnings == ()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_grey_is_converted_by_its_profile(mode: str) -> None:
    linear = profile(b"GRAY", (b"kTRC", b"curv" + bytes(8)))
    image = Image.fromarray(np.full((2, 2), 128, np.uint8))
    if mode == "LA":
        image.putalpha(100)
    elif mode == "I;16":
        image = Image.fromarray(np.full((2, 2), 128 * 257, np.uint16))
    frame = read(save(image, "PNG", icc_profile=linear))
    np.testing.assert_allclose(frame.image, 188, atol=1)  # linear 0.502 in sRGB
    assert frame.icc is None
    assert (frame.alpha is not None) == (mode == "LA")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_rgb_profile_is_kept(picture: Image.Image, format: str) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert read(save(picture, format, icc_profile=icc)).icc == icc


def test_a_grey_photo_drops_a_profile_of_colours(picture: Image.Image) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frame = read(save(picture.convert("L"), "JPEG", icc_profile=icc))
    assert frame.icc is None
    assert "profile" in frame.warnings[0]


def test_a_profile_for_other_pixels_is_dropped_with_a_warning(picture: Image.Image) -> None:
    frame = read(save(picture, "PNG", icc_profile=cmyk_profile()))
    assert frame.icc is None
    assert "profile" in frame.warnings[0]
    np.testing.assert_array_equal(frame.image, np.asarray(picture))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "BMP"])
def test_the_resolution_is_read(picture: Image.Image, format: str) -> None:
    np.testing.assert_allclose(
        read(save(picture, format, dpi=(300, 150))).dpi, (300, 150), atol=0.1
    )


def test_the_resolution_is_turned_with_the_photo(picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x112] = 8
    frame = read(save(picture, "JPEG", dpi=(300, 150), exif=exif))
    assert frame.dpi == (150, 300)


def test_a_resolution_of_zero_or_one_is_none(picture: Image.Image) -> None:
    for dpi in ((0, 0), (1, 1)):
        assert read(save(picture, "JPEG", dpi=dpi)).dpi is None


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken_with_a_warning(format: str) -> None:
    red, blue = (Image.new("RGB", (8, 8), c) for c in ("red", "blue"))
    frame = read(save(red, format, save_all=True, append_images=[blue]))
    assert "first" in frame.warnings[0]
    np.testing.assert_allclose(frame.image[4, 4], (255, 0, 0), atol=6)


def test_a_stereo_photo_is_its_first_photo_without_a_warning(picture: Image.Image) -> None:
    frame = read(save(picture, "MPO", save_all=True, append_images=[picture.rotate(180)]))
    assert frame.warnings == ()
    assert np.abs(frame.image.astype(int) - np.asarray(picture)).mean() < 6


@pytest.mark.parametrize(
    ("orientation", "least_size", "expected"),
    [(1, (75, 100), (75, 100)), (1, (76, 50), (150, 200)), (6, (100, 75), (100, 75))],
)
def test_a_jpeg_is_reduced_no_further_than_asked(
    orientation: int, least_size: tuple[int, int], expected: tuple[int, int]
) -> None:
    image = Image.linear_gradient("L").resize((400, 300))
    exif = Image.Exif()
    exif[0x112] = orientation
    data = save(image, "JPEG", exif=exif)
    frame = decode(data, max_pixels=10**6, least_size=least_size)
    assert frame.image.shape[:2] == expected
    assert frame.size == ((400, 300) if orientation == 6 else (300, 400))
    whole = read(data).image
    small = Image.fromarray(whole).resize(expected[::-1], Image.Resampling.BOX)
    assert np.abs(np.asarray(small).astype(int) - frame.image).mean() < 1


def test_threads_decode_at_once_without_warnings(picture: Image.Image) -> None:
    bad = save(picture, "TIFF")[:-40]
    good = save(picture, "JPEG", exif=b"Exif\0\0" + bytes(30), quality=95)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                read(good)
                with pytest.raises(InputError):
                    read(bad)
        except BaseException as e:
            failures.append(e)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
