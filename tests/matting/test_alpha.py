import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from u2cut.matting import Method, alpha_matte, trimap
from u2cut.matting import alpha as room
from u2cut.matting.colour import recognise

Photo = NDArray[np.uint8]
Map = NDArray[np.float32]

METHODS: tuple[Method, ...] = ("fast", "best")


def coarse(alpha: Map, size: int = 160) -> Map:
    """What a network would see of the truth: an average, blurred."""
    small = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 2), np.float32)


def disc(blur: float, size: int = 320, radius: int = 90) -> Map:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip((radius - np.hypot(x, y)) / blur + 0.5, 0, 1).astype(np.float32)


def painted(alpha: Map, subject: Map, background: Map) -> Photo:
    a = alpha[..., None]
    return np.clip(np.rint(a * subject + (1 - a) * background), 0, 255).astype(np.uint8)


def noise(mean: tuple[int, int, int], spread: float, shape: tuple[int, int]) -> Map:
    rng = np.random.default_rng(sum(mean))
    return (np.array(mean) + rng.normal(0, spread, (*shape, 3))).astype(np.float32)


def error(a: Map, b: Map) -> float:
    return float(np.abs(a - b).mean())


@pytest.mark.parametrize("method", METHODS)
def test_a_soft_disc_over_noise_is_found_again(method: Method) -> None:
    truth = disc(blur=12)
    photo = painted(
        truth, noise((220, 80, 60), 6, truth.shape), noise((40, 90, 160), 20, truth.shape)
    )
    found = alpha_matte(photo, coarse(truth), method)
    plain = alpha_matte(photo, coarse(truth), "none")
    assert error(found, truth) < 0.6 * error(plain, truth)
    assert np.abs(found - truth).max() < 0.35


@pytest.mark.parametrize("method", METHODS)
def test_the_teeth_of_a_comb_come_out_one_by_one(method: Method) -> None:
    truth = np.zeros((320, 320), np.float32)
    truth[200:260, 60:260] = 1
    # One pixel wide: the map sees an even grey. Longer ones would be a faint region, not an edge.
    truth[182:200, 60:260:8] = 1
    photo = painted(
        truth, noise((230, 220, 40), 2, truth.shape), noise((30, 60, 120), 2, truth.shape)
    )
    found = alpha_matte(photo, coarse(truth), method)
    teeth, gaps = found[185:198, 60:260:8], found[185:198, 64:260:8]
    assert teeth.mean() > 0.75
    assert gaps.mean() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_background_that_turns_into_the_subjects_colour_does_no_harm(method: Method) -> None:
    truth = disc(blur=3)
    ramp = np.linspace(0, 1, 320, dtype=np.float32)[None, :, None]
    background = (1 - ramp) * np.array([20, 40, 200]) + ramp * np.array([200, 60, 40])
    background = np.broadcast_to(background, (320, 320, 3)).astype(np.float32)
    photo = painted(truth, noise((200, 60, 40), 1, truth.shape), background)
    found = alpha_matte(photo, coarse(truth), method)
    assert error(found, truth) < 1.1 * error(alpha_matte(photo, coarse(truth), "none"), truth)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("grey", [0, 127, 255])
def test_a_flat_photo_follows_the_map(method: Method, grey: int) -> None:
    truth = disc(blur=3)
    photo = np.full((320, 320, 3), grey, np.uint8)
    assert error(alpha_matte(photo, coarse(truth), method), truth) < 0.03


@pytest.mark.parametrize("method", METHODS)
def test_a_subject_at_the_border_stays_whole(method: Method) -> None:
    truth = np.zeros((300, 400), np.float32)
    truth[100:, 150:250] = 1
    photo = painted(
        truth, noise((180, 160, 60), 10, truth.shape), noise((60, 70, 90), 10, truth.shape)
    )
    found = alpha_matte(photo, coarse(truth), method)
    assert found[-1, 160:240].min() > 0.98
    assert found[-1, :130].max() < 0.02


@pytest.mark.parametrize("method", METHODS)
def test_a_grey_photo_is_no_singular_case(method: Method) -> None:
    truth = disc(blur=3)
    photo = painted(
        truth, noise((200, 200, 200), 0, truth.shape), noise((60, 60, 60), 0, truth.shape)
    )
    rng = np.random.default_rng(5)
    photo = np.clip(photo + rng.integers(-20, 20, (320, 320, 1)), 0, 255).astype(np.uint8)
    assert error(alpha_matte(photo, coarse(truth), method), truth) < 0.01


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (2, 2), (10_000, 3), (3, 10_000)])
@pytest.mark.parametrize("method", ["none", *METHODS])
@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_photos_of_any_shape(shape: tuple[int, int], method: Method, value: float) -> None:
    photo = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = alpha_matte(photo, np.full((32, 32), value, np.float32), method)
    assert found.shape == shape
    assert found.dtype == np.float32
    if value != 0.5:
        assert (found == value).all()


def test_where_the_map_is_sure_alpha_is_sure() -> None:
    truth = disc(blur=3)
    saliency = coarse(truth)
    rng = np.random.default_rng(2)
    photo = rng.integers(0, 256, (320, 320, 3), dtype=np.uint8)
    found = alpha_matte(photo, saliency)
    sure = trimap(saliency, truth.shape)
    assert (found[sure == 255] == 1).all()
    assert (found[sure == 0] == 0).all()
    assert 0.05 < (sure == 128).mean() < 0.6


def test_a_wavering_region_takes_a_side() -> None:
    saliency = np.full((160, 160), 0.02, np.float32)
    saliency[20:140, 20:140] = 0.65
    photo = np.full((320, 320, 3), 128, np.uint8)
    assert alpha_matte(photo, saliency)[160, 160] > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_a_faint_region_is_no_ghost_and_a_nearly_sure_one_has_no_holes(method: Method) -> None:
    truth = disc(blur=3)
    saliency = 0.1 + 0.8 * coarse(truth)
    photo = painted(
        truth, noise((220, 80, 60), 5, truth.shape), noise((40, 90, 160), 5, truth.shape)
    )
    photo[10:40, 10:40] = 220, 80, 60  # the subject's colour, far from it
    photo[150:170, 150:170] = 40, 90, 160  # the background's, deep inside
    found = alpha_matte(photo, saliency, method)
    assert found[10:40, 10:40].max() == 0
    assert found[150:170, 150:170].min() == 1


def test_the_result_does_not_depend_on_the_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = disc(blur=9, size=1000, radius=300)
    photo = painted(
        truth, noise((220, 80, 60), 9, truth.shape), noise((40, 90, 160), 9, truth.shape)
    )
    found = alpha_matte(photo, coarse(truth))
    monkeypatch.setattr(room, "_STRIP", 37)
    assert np.allclose(alpha_matte(photo, coarse(truth)), found, atol=1e-5)


def test_a_large_photo_gives_the_matte_of_a_small_one() -> None:
    truth = disc(blur=30, size=1600, radius=500)
    photo = painted(
        truth, noise((220, 80, 60), 0, truth.shape), noise((40, 90, 160), 0, truth.shape)
    )
    assert error(alpha_matte(photo, coarse(truth)), truth) < 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_any_input_gives_alpha_in_range(height: int, width: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    for method in METHODS:
        found = alpha_matte(photo, rng.random((size, size), np.float32), method)
        assert found.shape == (height, width)
        assert found.min() >= 0
        assert found.max() <= 1


@pytest.mark.parametrize("shape", [(40, 40), (400, 300), (3000, 2000)])
def test_the_unknown_band_grows_with_the_photo(shape: tuple[int, int]) -> None:
    regions = trimap(coarse(disc(blur=3)), shape)
    assert regions.shape == shape
    assert set(np.unique(regions)) == {0, 128, 255}
    at_the_maps = trimap(coarse(disc(blur=3)))
    assert (regions == 128).mean() == pytest.approx((at_the_maps == 128).mean(), abs=0.05)


def textured(size: int = 320) -> tuple[Map, Photo, Map]:
    """A disc of two colours over a background of two others, and its map."""
    truth = disc(blur=3, size=size)
    checks = ((np.indices(truth.shape) // 7).sum(0) % 2 * 60)[..., None].astype(np.float32)
    photo = painted(
        truth,
        noise((180, 80, 60), 5, truth.shape) + checks,
        noise((30, 90, 150), 5, truth.shape) + checks,
    )
    return truth, photo, coarse(truth)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", ["eroded", "dilated"])
def test_an_outline_beside_the_subjects_is_found_again(method: Method, wrong: str) -> None:
    truth, photo, _ = textured()
    small = cv2.resize(truth, (160, 160), interpolation=cv2.INTER_AREA)
    change = {"eroded": cv2.erode, "dilated": cv2.dilate}[wrong]
    saliency = coarse(np.asarray(change(small, np.ones((7, 7))), np.float32))
    found = alpha_matte(photo, saliency, method)
    plain = alpha_matte(photo, saliency, "none")
    # Of a map that reaches too far, what it is sure of stays: real ones seldom do.
    left = {"eroded": 0.1, "dilated": 0.12}[wrong]
    assert error(found, truth) < left * error(plain, truth)


@pytest.mark.parametrize("method", METHODS)
def test_a_small_hole_in_the_map_is_filled_if_the_photo_has_none(method: Method) -> None:
    _, photo, saliency = textured()
    hole = np.ones_like(saliency)
    cv2.circle(hole, (80, 70), 4, 0, -1)
    saliency = saliency * cv2.GaussianBlur(hole, (0, 0), 1)
    assert saliency[70, 80] < 0.01
    assert alpha_matte(photo, saliency, method)[130:150, 150:170].min() > 0.9


@pytest.mark.parametrize("method", METHODS)
def test_a_small_hole_in_the_subject_stays_open(method: Method) -> None:
    truth, photo, _ = textured()
    cv2.circle(photo, (160, 140), 7, (30, 90, 150), -1)
    cv2.circle(truth, (160, 140), 7, 0, -1)
    assert alpha_matte(photo, coarse(truth), method)[136:144, 156:164].max() < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_where_the_map_wavers_the_colours_of_the_whole_decide(method: Method) -> None:
    truth, photo, saliency = textured()
    saliency[60:120, 90:] = 0.6  # half of the disc's right side, and background beyond
    found = alpha_matte(photo, saliency, method)
    assert found[150:200, 200:230].min() > 0.9
    assert found[130:230, 270:].mean() < 0.3
    assert error(found, truth) < 0.025


def test_a_fine_map_gives_the_matte_of_a_coarse_one() -> None:
    truth, photo, saliency = textured()
    fine = np.asarray(cv2.resize(saliency, (960, 960)), np.float32)
    assert error(alpha_matte(photo, fine), alpha_matte(photo, saliency)) < 0.003
    assert error(alpha_matte(photo, fine), truth) < 0.01


@pytest.mark.parametrize("method", ["fast", "best"])
def test_what_the_map_is_sure_of_has_no_hole_whatever_its_colours(method) -> None:
    """A patch of the background's own colour in the middle of a subject that is nearly sure."""
    rng = np.random.default_rng(0)
    photo = np.full((480, 640, 3), (60, 120, 200), np.uint8)
    photo[60:420, 280:360] = (200, 80, 40)
    photo[200:280, 304:336] = (60, 120, 200)
    photo += rng.integers(0, 8, photo.shape).astype(np.uint8)
    saliency = np.zeros((320, 320), np.float32)
    saliency[40:280, 140:180] = 0.97
    saliency = cv2.GaussianBlur(saliency, (0, 0), 1.5)
    alpha = alpha_matte(photo, saliency, method)
    assert alpha[195:285, 300:340].min() > 0.9


@pytest.mark.parametrize("method", ["fast", "best"])
def test_a_dip_in_what_the_map_is_sure_of_is_no_hole(method) -> None:
    """A lit nose before a wall of its colour: the map wavers there, and colours would cut it."""
    rng = np.random.default_rng(0)
    photo = np.full((480, 480, 3), (190, 180, 175), np.uint8)
    photo[90:390, 90:390] = (90, 50, 30)
    photo[225:255, 225:255] = (190, 180, 175)
    photo += rng.integers(0, 8, photo.shape).astype(np.uint8)
    saliency = np.zeros((320, 320), np.float32)
    saliency[60:260, 60:260] = 0.99
    saliency[150:170, 150:170] = 0.6
    saliency = cv2.GaussianBlur(saliency, (0, 0), 1.5)
    assert alpha_matte(photo, saliency, method)[200:280, 200:280].min() > 0.85
    saliency[150:170, 150:170] = 0.05  # a hole that the map shows is one
    assert alpha_matte(photo, saliency, method)[240, 240] < 0.2


def test_best_decides_on_a_finer_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = disc(blur=3, size=1600, radius=700)
    photo = painted(
        truth, noise((200, 60, 40), 5, truth.shape), noise((30, 90, 150), 5, truth.shape)
    )
    decided: list[int] = []

    def counted(colours: Map, prior: Map) -> Map:
        decided.append(prior.size)
        return recognise(colours, prior)

    monkeypatch.setattr("u2cut.matting.alpha.recognise", counted)
    for method in METHODS:
        assert error(alpha_matte(photo, coarse(truth), method), truth) < 0.01
    fast, best = decided
    assert best > 3 * fast
