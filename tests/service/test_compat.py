"""Requests of other services' clients, as they send them."""

import base64
import io
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pictures import disc_photo
from tests.service.conftest import Server


@pytest.fixture(scope="module")
def photo() -> bytes:
    file = io.BytesIO()
    Image.fromarray(disc_photo()).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture(scope="module")
def large() -> bytes:
    file = io.BytesIO()
    Image.fromarray(disc_photo()).resize((1280, 960)).save(file, "JPEG", quality=95)
    return file.getvalue()


def opened(data: bytes) -> Any:
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        return picture


def removebg(server: Server, photo: bytes, **fields: str) -> Any:
    return server.post(
        "/v1.0/removebg",
        files={"image_file": photo},
        data={"size": "auto", **fields},
        headers={"X-Api-Key": "INSERT_YOUR_API_KEY_HERE"},
    )


def test_the_call_of_most_clients(server: Server, photo: bytes) -> None:
    answer = removebg(server, photo)
    assert answer.status_code == 200
    assert opened(answer.content).mode == "RGBA"
    assert answer.headers["X-Credits-Charged"] == "0"
    assert answer.headers["X-Type"] == "other"
    assert (answer.headers["X-Width"], answer.headers["X-Height"]) == ("128", "96")


def test_sizes_are_in_megapixels(server: Server, large: bytes) -> None:
    width, height = opened(removebg(server, large, size="preview").content).size
    assert 200_000 < width * height <= 250_000
    assert opened(removebg(server, large, size="full").content).size == (1280, 960)


@pytest.mark.parametrize(
    ("fields", "mode", "format"),
    [
        ({"bg_color": "fff"}, "RGB", "JPEG"),
        ({"bg_color": "81d4faff", "format": "png"}, "RGB", "PNG"),
        ({"bg_color": "81d4fa00", "format": "png"}, "RGBA", "PNG"),
        ({"format": "jpg"}, "RGB", "JPEG"),
        ({"channels": "alpha"}, "L", "PNG"),
        ({"format": "webp"}, "RGBA", "WEBP"),
    ],
)
def test_its_fields(
    server: Server, photo: bytes, fields: dict[str, str], mode: str, format: str
) -> None:
    answer = removebg(server, photo, **fields)
    assert answer.status_code == 200, answer.text
    picture = opened(answer.content)
    assert (picture.mode, picture.format) == (mode, format)


def test_crop_zip_and_json(server: Server, photo: bytes) -> None:
    cropped = opened(removebg(server, photo, crop="true", crop_margin="4px").content)
    assert cropped.size[0] < 128
    packed = zipfile.ZipFile(io.BytesIO(removebg(server, photo, format="zip").content))
    assert packed.namelist() == ["color.jpg", "alpha.png"]
    assert opened(packed.read("alpha.png")).mode == "L"
    answer = server.post("/v1.0/removebg", files={"image_file": photo}, data={"size": "auto"},
                         headers={"Accept": "application/json"})  # fmt: skip
    data = answer.json()["data"]
    assert opened(base64.b64decode(data["result_b64"])).size == (128, 96)
    cut = opened(removebg(server, photo).content)
    left, top, right, bottom = cut.getchannel("A").getbbox()
    assert (data["foreground_left"], data["foreground_top"]) == pytest.approx((left, top), abs=2)
    assert data["foreground_width"] == pytest.approx(right - left, abs=4)
    assert answer.headers["X-Foreground-Height"] == str(data["foreground_height"])
    assert data["foreground_height"] == pytest.approx(bottom - top, abs=4)


def subject_box(picture: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what is opaque."""
    return picture.getchannel("A").point(lambda a: 255 * (a > 127)).getbbox()


def test_scale_and_position_place_the_subject_in_the_photos_size(
    server: Server, photo: bytes
) -> None:
    asis = opened(removebg(server, photo).content)
    left, top, right, bottom = subject_box(asis)
    half = opened(removebg(server, photo, scale="50%").content)
    assert half.size == asis.size
    box = subject_box(half)
    assert box[3] - box[1] == pytest.approx(48, abs=2)  # half of 96, the side it reaches first
    assert (box[0] + box[2]) / 2 == pytest.approx(64, abs=2)
    assert (box[1] + box[3]) / 2 == pytest.approx(48, abs=2)
    corner = subject_box(opened(removebg(server, photo, position="0% 100%").content))
    assert corner[:1] + corner[3:] == pytest.approx((0, 96), abs=2)
    size = (corner[2] - corner[0], corner[3] - corner[1])
    assert size == pytest.approx((right - left, bottom - top), abs=2)
    middle = subject_box(opened(removebg(server, photo, position="100%").content))
    assert middle[2:] == pytest.approx((128, 96), abs=2)


def test_a_subject_is_found_in_its_region_alone(server: Server, large: bytes) -> None:
    for roi in ("0% 0% 50% 100%", "0px 0px 640px 960px", "50% 100% 0% 0%"):
        picture = opened(removebg(server, large, roi=roi).content)
        assert picture.size == (1280, 960)
        left, _, right, _ = subject_box(picture)
        assert left < 600
        assert right <= 640, roi
    shrunk = opened(removebg(server, large, roi="0px 0px 640px 960px", size="small").content)
    assert subject_box(shrunk)[2] <= round(shrunk.size[0] / 2)


def test_base64_longer_than_a_megabyte(server: Server) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (640, 640, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    assert len(text) > 1_500_000
    answer = server.post("/v1.0/removebg", data={"image_file_b64": text}, files={"x": b""})
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:  # noise has no subject
        assert answer.json()["errors"][0]["code"] == "unknown_foreground"


def test_the_calls_of_the_removebg_package(server: Server, photo: bytes) -> None:
    """Version 0.04 of the package sends these, and reads the body or errors[0].title."""
    key = {"X-Api-Key": "key"}
    form = {"size": "4k", "bg_color": None}
    file = server.post("/v1.0/removebg", files={"image_file": photo}, data=form, headers=key)
    assert opened(file.content).mode == "RGBA"
    form = {
        "image_file_b64": base64.b64encode(photo).decode(),
        "size": "regular",
        "bg_color": "red",
    }
    text = server.post("/v1.0/removebg", data=form, headers=key)  # urlencoded
    assert opened(text.content).mode == "RGB"
    form = {"image_url": "http://127.0.0.1/a.jpg", "size": "regular"}
    url = server.post("/v1.0/removebg", data=form, headers=key)
    assert url.status_code == 400
    assert url.json()["errors"][0]["title"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"size": "huge"}, "invalid_size"),
        ({"format": "gif"}, "invalid_format"),
        ({"channels": "x"}, "invalid_channels"),
        ({"bg_color": "nocolour"}, "invalid_bg_color"),
        ({"crop_margin": "a b"}, "invalid_crop_margin"),
        ({"add_shadow": "true"}, "unsupported_add_shadow"),
        ({"roi": "10% 10% 50%"}, "invalid_roi"),
        ({"roi": "10 10 50 50"}, "invalid_roi"),
        ({"roi": "0px 0px 129px 96px"}, "roi_exceeds_bounds"),
        ({"roi": "-1px 0px 50px 50px"}, "roi_exceeds_bounds"),
        ({"roi": "50% 10% 50% 90%"}, "roi_region_empty"),
        ({"scale": "9%"}, "invalid_scale"),
        ({"scale": "50px"}, "invalid_scale"),
        ({"position": "left"}, "invalid_position"),
        ({"position": "10% 20% 30%"}, "invalid_position"),
        ({"scale": "50%", "position": "original"}, "invalid_position"),
        ({"scale": "50%", "crop": "true"}, "invalid_crop"),
        ({"nonsense": "1"}, "unknown_parameter"),
        ({"image_url": "http://example.com/a.jpg"}, "multiple_sources"),
    ],
)
def test_what_is_not_done_is_refused_by_its_code(
    server: Server, photo: bytes, fields: dict[str, str], code: str
) -> None:
    answer = removebg(server, photo, **fields)
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["code"] == code
    assert error["title"]


def test_no_source_a_broken_one_and_no_subject(server: Server) -> None:
    missing = server.post("/v1.0/removebg", data={"size": "auto"})
    assert missing.json()["errors"][0]["code"] == "missing_source"
    broken = server.post("/v1.0/removebg", files={"image_file": b"no picture"})
    assert broken.json()["errors"][0]["code"] == "failed_to_read_image"
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(flat, "PNG")
    nothing = server.post("/v1.0/removebg", files={"image_file": flat.getvalue()})
    assert nothing.json()["errors"][0]["code"] == "unknown_foreground"


def test_the_account_has_the_expected_shape(server: Server) -> None:
    attributes = server.get("/v1.0/account").json()["data"]["attributes"]
    assert attributes["credits"]["total"] == 0
    assert attributes["api"]["sizes"] == "all"


def test_rembgs_documented_calls(server: Server, photo: bytes) -> None:
    plain = server.post("/api/remove", files={"file": photo})
    assert plain.status_code == 200
    assert opened(plain.content).mode == "RGBA"
    words = {"model": "u2net", "a": "true", "om": "true"}
    assert opened(server.post("/api/remove", files={"file": photo}, data=words).content).mode == "L"
    white = server.post("/api/remove", files={"file": photo}, params={"bgc": "255,255,255,255"})
    assert opened(white.content).mode == "RGB"
    for wrong in ({"model": "xu2netx"}, {"bgc": "red"}, {"ppm": "true"}, {"extras": '{"a": 1}'}):
        answer = server.post("/api/remove", files={"file": photo}, data=wrong)
        assert answer.status_code == 400
        assert answer.json()["detail"]
    assert server.get("/api/remove", params={"url": "http://127.0.0.1/"}).status_code == 403
    assert server.post("/api/remove").status_code == 422
