import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from u2cut.matting import foreground

Photo = NDArray[np.uint8]
Map = NDArray[np.float32]


def soft_disc(size: int, radius: float, softness: float) -> Map:
    y, x = np.mgrid[:size, :size] - size / 2
    return np.clip((radius - np.hypot(x, y)) / softness + 0.5, 0, 1).astype(np.float32)


@pytest.mark.parametrize("size", [200, 900])
def test_the_old_background_leaves_the_soft_edge(size: int) -> None:
    alpha = soft_disc(size, size / 4, size / 10)
    rng = np.random.default_rng(4)
    texture = cv2.GaussianBlur(rng.normal(0, 60, (size, size, 3)), (0, 0), 3)
    subject = np.clip(texture + np.array([200, 90, 60]), 0, 255)
    photo = alpha[..., None] * subject + (1 - alpha[..., None]) * np.array([20, 200, 60])
    photo = np.rint(photo).astype(np.uint8)
    found = foreground(photo, alpha)
    band = (alpha > 0.1) & (alpha < 0.9)
    left = np.abs(found[band] - subject[band]).mean()
    assert left < 0.25 * np.abs(photo[band] - subject[band]).mean()


def test_half_transparent_colour_has_no_dark_halo() -> None:
    photo = np.full((40, 40, 3), (200, 100, 50), np.uint8)
    alpha = np.full((40, 40), 0.5, np.float32)
    over_white = foreground(photo, alpha) * 0.5 + 255 * 0.5
    assert np.abs(over_white - (227, 177, 152)).max() <= 1


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_sure_matte_leaves_the_photo_alone(value: float) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(foreground(photo, np.full((20, 30), value, np.float32)), photo)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 300), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_colours_are_unchanged_where_alpha_is_sure(height: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    alpha = np.clip(rng.normal(0.5, 1, (height, width)), 0, 1).astype(np.float32)
    before = photo.copy()
    found = foreground(photo, alpha)
    sure = (alpha == 0) | (alpha == 1)
    assert np.array_equal(found[sure], photo[sure])
    assert np.array_equal(photo, before)


@pytest.mark.parametrize("shape", [(1, 1), (2_000, 3), (3, 2_000)])
def test_photos_of_any_shape(shape: tuple[int, int]) -> None:
    photo = np.zeros((*shape, 3), np.uint8)
    assert foreground(photo, np.full(shape, 0.5, np.float32)).shape == photo.shape
