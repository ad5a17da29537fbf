from math import erf, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from u2cut.imaging import composite


def test_over_is_the_exact_rounded_mean() -> None:
    mask, front, back = np.meshgrid(np.arange(256), *[np.arange(0, 256, 5)] * 2, indexing="ij")
    expected = (2 * (mask * front + (255 - mask) * back) + 255) // 510  # rounds, in integers
    result = composite.over(
        np.dstack([front.reshape(256, -1)] * 3).astype(np.uint8),
        (mask.reshape(256, -1) / 255).astype(np.float32),
        np.dstack([back.reshape(256, -1)] * 3).astype(np.uint8),
    )
    np.testing.assert_array_equal(result[..., 1], expected.reshape(256, -1))


def test_alpha_is_straight_there_is_no_dark_halo() -> None:
    colours = np.full((1, 1, 3), (200, 100, 50), np.uint8)
    result = composite.over(colours, np.full((1, 1), 128 / 255, np.float32), (255, 255, 255))
    np.testing.assert_array_equal(result[0, 0], (227, 177, 152))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (500, 301), (3, 70_000)])
def test_over_an_image_is_the_same_everywhere(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    front, back = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    mask = rng.integers(0, 256, shape)
    opacity = mask[..., None]
    expected = (front * opacity + back * (255 - opacity)) / 255  # never ends in .5
    result = composite.over(front, (mask / 255).astype(np.float32), back)
    np.testing.assert_array_equal(result, np.rint(expected))


def test_a_cutout_laid_over_a_background_is_the_composite() -> None:
    rng = np.random.default_rng(2)
    front = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    alpha = rng.random((20, 30), dtype=np.float32)
    rgba = composite.cutout(front, alpha)
    again = composite.over(rgba[..., :3], rgba[..., 3] / np.float32(255), (9, 99, 199))
    np.testing.assert_array_equal(again, composite.over(front, alpha, (9, 99, 199)))


def test_hidden_colours_are_zeroed_unless_kept() -> None:
    front = np.full((1, 3, 3), 200, np.uint8)
    alpha = np.array([[0, 0.001, 1]], np.float32)  # 0.001 rounds to 0 of 255
    rgba = composite.cutout(front, alpha)
    np.testing.assert_array_equal(rgba[0], [[0] * 4, [0] * 4, [200, 200, 200, 255]])
    kept = composite.cutout(front, alpha, keep_hidden_colours=True)
    np.testing.assert_array_equal(kept[0, 0], [200, 200, 200, 0])


def test_eight_bits_rounds() -> None:
    values = np.array([[0, 0.4999 / 255, 0.5001 / 255, 128 / 255, 1]], np.float32)
    np.testing.assert_array_equal(composite.eight_bits(values)[0], [0, 0, 1, 128, 255])


@given(*[st.integers(1, 60)] * 4)
@settings(max_examples=40, deadline=None)
def test_cover_fills_any_size(h: int, w: int, height: int, width: int) -> None:
    result = composite.cover(np.full((h, w, 3), 77, np.uint8), (height, width))
    assert result.shape == (height, width, 3)
    assert (result == 77).all()


def test_cover_crops_around_the_centre() -> None:
    image = np.zeros((100, 300, 3), np.uint8)
    image[:, 100:200] = 255
    np.testing.assert_array_equal(composite.cover(image, (50, 50)), 255)


def test_cover_smooths_when_it_shrinks() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(composite.cover(stripes, (16, 16))) <= 2


@pytest.mark.parametrize("sigma", [0.7, 3.0, 25.0])
def test_blurring_an_edge_follows_the_gaussian(sigma: float) -> None:
    photo = np.zeros((200, 400, 3), np.uint8)
    photo[:, 200:] = 255
    result = composite.blurred(photo, np.zeros((200, 400), np.float32), sigma)
    x = np.arange(400) - 199.5
    expected = [127.5 * (1 + erf(v / sigma / sqrt(2))) for v in x]
    np.testing.assert_allclose(result[100, :, 0], expected, atol=6)


def test_the_blurred_background_does_not_glow_of_the_subject() -> None:
    photo = np.full((200, 200, 3), 40, np.uint8)
    alpha = np.zeros((200, 200), np.float32)
    alpha[60:140, 60:140] = 1
    photo[alpha == 1] = 250
    result = composite.blurred(photo, alpha, 12)
    assert result[55, 100].max() <= 50  # a plain blur gives about 120 there
    assert result[10, 10].max() <= 41


def test_a_photo_that_is_all_subject_is_blurred_as_it_is() -> None:
    photo = np.full((20, 20, 3), 123, np.uint8)
    result = composite.blurred(photo, np.ones((20, 20), np.float32), 5)
    np.testing.assert_allclose(result, 123, atol=1)


@pytest.mark.parametrize("sigma", [0.5, 1000.0])
def test_a_single_pixel_is_blurred_to_itself(sigma: float) -> None:
    result = composite.blurred(np.full((1, 1, 3), 9, np.uint8), np.zeros((1, 1), np.float32), sigma)
    np.testing.assert_array_equal(result, np.full((1, 1, 3), 9))
