import io
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import u2cut
from tests.pictures import disc_photo, opened
from tests.test_cutout import P3
from u2cut import Cutout, Remover
from u2cut.errors import DeviceError, InputError, UsageError, WeightsError


@pytest.fixture(scope="module")
def remover() -> Remover:
    return Remover("u2netp", size=96, engine="torch", jobs=2)


def test_every_kind_of_photo_gives_the_same_cutout(remover: Remover, disc: Path) -> None:
    array = disc_photo()
    kinds = [array, Image.fromarray(array), disc, str(disc), disc.read_bytes()]
    cutouts = [remover.remove(kind) for kind in kinds]
    for cutout in cutouts:
        assert isinstance(cutout, Cutout)
        assert (cutout.rgba == cutouts[0].rgba).all()
    first = cutouts[0]
    assert first.rgba.shape == (96, 128, 4)
    for plane in (first.alpha, first.saliency):
        assert plane.shape == (96, 128)
        assert plane.dtype == np.float32
        assert plane.min() >= 0
        assert plane.max() <= 1
    assert first.has_subject
    assert 0.1 < first.coverage < 0.6
    assert remover.model == "u2netp"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "HSV"])
def test_pillow_images_of_every_mode_are_taken(remover: Remover, mode: str) -> None:
    image = Image.fromarray(disc_photo())
    image = Image.new("I;16", image.size, 3000) if mode == "I;16" else image.convert(mode)
    assert remover.remove(image).rgba.shape == (96, 128, 4)


def test_a_pillow_image_is_turned_upright_and_keeps_its_dpi(
    remover: Remover, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(disc_photo()).save(path, exif=exif, dpi=(200, 200))
    with Image.open(path) as image:
        cutout = remover.remove(image)
    assert cutout.shape == (128, 96)
    cutout.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as written:
        assert written.info["dpi"] == pytest.approx((200, 200), abs=0.1)


def test_grey_and_rgba_arrays_are_taken(remover: Remover) -> None:
    photo = disc_photo()
    assert remover.remove(photo[..., 0]).shape == (96, 128)
    hidden = np.dstack([photo, np.zeros((96, 128), np.uint8)])
    assert not remover.remove(hidden).alpha.any()


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4, 3), np.int64),
        np.full((4, 4, 3), 1.5, np.float32),
        np.full((4, 4, 3), -0.1),
        np.full((4, 4, 3), np.nan),
        io.StringIO("text"),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        b"no picture",
        "missing.jpg",
        42,
    ],
)
def test_what_is_no_photo_is_an_input_error(remover: Remover, bad: object) -> None:
    with pytest.raises(InputError):
        remover.remove(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.astype(np.float32) / 255,
        lambda a: a.astype(np.float64) / 255,
        lambda a: a.astype(np.uint16) * 257,
        lambda a: np.asfortranarray(a),
    ],
)
def test_arrays_of_other_types_mean_the_same_photo(
    remover: Remover, convert: Callable[[NDArray[np.uint8]], NDArray[Any]]
) -> None:
    expected, found = remover.remove(disc_photo()), remover.remove(convert(disc_photo()))
    assert np.array_equal(found.photo.image, expected.photo.image)
    assert np.array_equal(found.rgba, expected.rgba)


def test_open_files_and_buffers_are_photos(remover: Remover, disc: Path) -> None:
    expected = remover.remove(disc).rgba
    assert np.array_equal(remover.remove(io.BytesIO(disc.read_bytes())).rgba, expected)
    with disc.open("rb") as file:
        assert np.array_equal(remover.remove(file).rgba, expected)


def test_an_array_that_changes_later_does_not_change_the_cutout(remover: Remover) -> None:
    array = disc_photo().astype(np.float32) / 255
    cutout = remover.remove(array)
    array[:] = 0
    assert cutout.alpha.max() > 0.9


def test_a_cutout_can_be_pickled_before_and_after_it_is_used() -> None:
    remover = Remover("u2netp", size=96, engine="torch", matting="best")
    for used in (False, True):
        cutout = remover.remove(disc_photo())
        if used:
            _ = cutout.rgba
        copy = pickle.loads(pickle.dumps(cutout))
        assert np.array_equal(copy.rgba, cutout.rgba)
        assert copy.coverage == cutout.coverage


@pytest.mark.parametrize(
    "wrong",
    [
        {"compression": 99},
        {"quality": 0},
        {"format": "gif"},
        {"format": "bmp"},
        {"strip": True, "keep_gps": True},
    ],
)
def test_what_save_can_not_do_is_a_usage_error(
    remover: Remover, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    cutout = remover.remove(disc_photo())
    with pytest.raises(UsageError):
        cutout.save(tmp_path / "a.png", **wrong)
    assert not list(tmp_path.iterdir())


def test_formats_have_their_usual_names(remover: Remover, tmp_path: Path) -> None:
    remover.remove(disc_photo()).save(tmp_path / "a", format="WebP")
    with Image.open(tmp_path / "a") as written:
        assert written.format == "WEBP"


def test_srgb_converts_colours_and_leaves_the_profile_out(tmp_path: Path) -> None:
    profile = P3
    Image.new("RGB", (64, 48), (200, 60, 60)).save(tmp_path / "p3.png", icc_profile=profile)
    kept = Remover("u2netp", size=96).remove(tmp_path / "p3.png")
    converted = Remover("u2netp", size=96, srgb=True).remove(tmp_path / "p3.png")
    assert tuple(kept.foreground[0, 0]) == (200, 60, 60)
    assert np.abs(converted.foreground[0, 0].astype(int) - (219, 37, 49)).max() <= 1
    for name, cutout in (("kept", kept), ("converted", converted)):
        cutout.save(tmp_path / f"{name}.png")
    with Image.open(tmp_path / "kept.png") as opened_:
        assert opened_.info["icc_profile"] == profile
    with Image.open(tmp_path / "converted.png") as opened_:
        assert "icc_profile" not in opened_.info


def test_composite_over_colours_and_pictures(remover: Remover) -> None:
    cutout = remover.remove(disc_photo())
    assert tuple(cutout.composite("red")[1, 1]) == (255, 0, 0)
    assert tuple(cutout.composite((1, 2, 3))[1, 1]) == (1, 2, 3)
    picture = np.full((7, 9, 3), 77, np.uint8)
    assert tuple(cutout.composite(picture)[1, 1]) == (77, 77, 77)
    with pytest.raises(UsageError):
        cutout.composite("no colour")


def test_save_names_the_format_by_the_ending(remover: Remover, tmp_path: Path) -> None:
    cutout = remover.remove(disc_photo())
    cutout.save(tmp_path / "a.webp", quality=100)
    assert (opened(tmp_path / "a.webp")[..., 3] == cutout.rgba[..., 3]).all()
    cutout.save(tmp_path / "plain", format="png", compression=9)
    assert (opened(tmp_path / "plain") == cutout.rgba).all()
    with pytest.raises(UsageError, match="names no format"):
        cutout.save(tmp_path / "a.psd")


def test_remove_many_keeps_the_order_draws_lazily_and_may_return_errors(remover: Remover) -> None:
    drawn = 0

    def photos() -> Iterator[object]:
        nonlocal drawn
        for i in range(30):
            drawn += 1
            yield b"bad" if i == 3 else disc_photo(40 + i, 60)

    results = remover.remove_many(photos(), errors="return")  # type: ignore[arg-type]
    first = next(results)
    assert drawn < 12
    outcomes = [first, *results]
    assert [isinstance(o, InputError) for o in outcomes] == [i == 3 for i in range(30)]
    assert [o.shape[0] for o in outcomes if isinstance(o, Cutout)] == [
        40 + i for i in range(30) if i != 3
    ]
    with pytest.raises(InputError):
        list(remover.remove_many([disc_photo(), b"bad", disc_photo()]))


def test_a_remover_serves_several_threads(remover: Remover) -> None:
    photos = [disc_photo(60 + 4 * i, 90) for i in range(6)]
    alone = [remover.remove(photo).alpha for photo in photos]
    together: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i: together.update({i: remover.remove(photos[i]).alpha}))
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(6):
        assert np.abs(together[i] - alone[i]).max() < 1e-4


def test_what_cannot_be_had_is_said_at_once() -> None:
    with pytest.raises(WeightsError):
        Remover("u2net", offline=True)
    with pytest.raises(WeightsError):
        Remover(weights="missing.safetensors")
    with pytest.raises(DeviceError):
        Remover("u2netp", device="cuda:99")


def test_the_package_names_what_it_offers() -> None:
    assert u2cut.Remover is Remover
    assert u2cut.Cutout is Cutout
    with pytest.raises(AttributeError):
        u2cut.nothing  # noqa: B018


def test_a_remover_for_the_best_opens_the_second_network_at_once() -> None:
    plain = Remover("u2netp", offline=True)._predictor
    best = Remover("u2netp", offline=True, matting="best")._predictor
    deadline = time.monotonic() + 60
    while best._second is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert best._second is not None
    assert best._second.model == "lite"
    assert plain._second is None


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_best_sees_the_photo_mirrored_and_at_smaller_sizes(engine: str, disc: Path) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    remover = Remover("u2netp", offline=True, engine=engine, precision="fp32", size=128)
    image = np.asarray(Image.open(disc).convert("RGB"))
    mirrored, *smaller = remover._predictor.views(image)
    # A view is the map that the network gives of the mirrored photo, or at that size.
    flipped = remover._predictor.fused_map(np.ascontiguousarray(image[:, ::-1]))[:, ::-1]
    assert np.abs(mirrored - flipped).max() < 0.02
    assert [view.shape for view in smaller] == [(96, 96)]
    other = Remover("u2netp", offline=True, engine="torch", precision="fp32", size=96)
    alone = other._predictor.fused_map(image)
    assert np.abs(smaller[0] - alone).max() < 1e-3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 7}, "--threshold"),
        ({"size": 8}, "--size"),
        ({"matting": "hairy"}, "--matting"),
        ({"engine": "tensorrt"}, "--engine"),
        ({"batch_size": 0}, "--batch-size"),
        ({"feather": -1}, "--feather"),
        ({"erode": -3}, "--erode"),
        ({"jobs": 0}, "--jobs"),
        ({"background": "no colour"}, "no colour"),
        ({"colour": 4}, "no option"),
        ({"dry_run": True}, "no option"),
    ],
)
def test_wrong_options_are_refused_before_weights_are_looked_for(options, said) -> None:
    with pytest.raises(UsageError, match=said):
        Remover("nobody's weights", **options)


def test_photos_that_are_one_path_are_refused(remover: Remover) -> None:
    with pytest.raises(UsageError, match="list"):
        next(remover.remove_many("a.jpg"))
    with pytest.raises(UsageError, match="ignore"):
        next(remover.remove_many([], errors="ignore"))


def test_save_puts_the_subject_on_the_background_that_was_asked_for(
    disc: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "green.png"
    Image.new("RGB", (40, 30), (0, 255, 0)).save(picture)
    for number, options in enumerate(
        ({"background": "#00ff00"}, {"background": (0, 255, 0)}, {"background_image": picture})
    ):
        target = tmp_path / f"{number}.png"
        Remover("u2netp", offline=True, size=96, **options).remove(disc).save(target)
        with Image.open(target) as image:
            assert image.mode == "RGB"
            assert image.getpixel((1, 1)) == (0, 255, 0)


def test_an_array_is_read_at_once(remover: Remover) -> None:
    array = disc_photo()
    expected = remover.remove(disc_photo()).rgba
    cutout = remover.remove(array)
    array[:] = 0
    assert (cutout.rgba == expected).all()


@pytest.mark.parametrize(("orientation", "dpi"), [(1, (300.0, 150.0)), (6, (150.0, 300.0))])
def test_the_resolution_turns_with_a_pillow_image(
    remover: Remover, orientation: int, dpi: tuple[float, float]
) -> None:
    image = Image.fromarray(disc_photo())
    image.info["dpi"] = (300, 150)
    image.getexif()[0x112] = orientation
    assert remover.remove(image).photo.dpi == dpi
