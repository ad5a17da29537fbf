from dataclasses import replace

import cv2
import numpy as np
import pytest

from u2cut.training.augment import augment, degrade, jitter_colour, paste, view, warp
from u2cut.training.config import TrainConfig

PLAIN = TrainConfig(resize=80, crop=64, hflip=0, vflip=0)
RICH = replace(
    PLAIN, scale=0.3, aspect=0.2, rotation=20, color_jitter=0.4, degrade=0.5, hflip=0.5, vflip=0.5
)


def smooth_noise(size, seed=0):
    noise = np.random.default_rng(seed).uniform(0, 255, (size, size, 3))
    return cv2.GaussianBlur(noise, (0, 0), 4).round().astype(np.uint8)


def run(config, photo, mask, seed=0, background=None, valid=None):
    valid = np.full_like(mask, 255) if valid is None else valid
    rng = np.random.default_rng(seed)
    return augment(photo, mask, valid, background=background, config=config, rng=rng)


def test_the_published_recipe_crops_whole_pixels():
    photo = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(photo, (64, 64), axis=(0, 1))
    corners = set()
    for seed in range(30):
        out = run(PLAIN, photo, photo[:, :, 0], seed)[0]
        places = np.argwhere((windows == out.transpose(2, 0, 1)).all(axis=(2, 3, 4)))
        assert len(places) == 1
        corners.add(tuple(places[0]))
    assert len(corners) > 20
    assert max(c for corner in corners for c in corner) > 12


@pytest.mark.parametrize(("option", "axis"), [("hflip", 1), ("vflip", 0)])
def test_a_flip_mirrors_one_axis(option, axis):
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    config = replace(PLAIN, resize=64, crop=0, **{option: 1.0})
    out, mask, _ = run(config, photo, photo[:, :, 1])
    assert np.array_equal(out, np.flip(photo, axis))
    assert np.array_equal(mask, np.flip(photo[:, :, 1], axis))


def test_photo_and_mask_move_together():
    grey = smooth_noise(100)[:, :, 0]
    config = replace(RICH, color_jitter=0, degrade=0)
    for seed in range(10):
        photo, mask, valid = run(config, np.repeat(grey[:, :, None], 3, 2), grey, seed)
        assert np.array_equal(photo[:, :, 2], mask)
        assert (valid == 255).all()


def test_what_is_unknown_moves_with_the_photo():
    valid = np.full((100, 100), 255, np.uint8)
    valid[30:60, 20:70] = 0
    config = replace(RICH, color_jitter=0, degrade=0)
    for seed in range(5):
        photo, _, seen = run(config, np.repeat(valid[:, :, None], 3, 2), valid, seed, valid=valid)
        assert np.array_equal(photo[:, :, 0], seen)


def test_the_same_generator_gives_the_same_sample():
    photo = smooth_noise(100)
    first, again, other = (run(RICH, photo, photo[:, :, 0], seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_zoom_and_stretch_change_areas_as_told():
    mask = np.zeros((100, 100), np.uint8)
    mask[40:60, 40:60] = 255
    config = replace(PLAIN, resize=100, crop=0, scale=0.5)
    areas = []
    for seed in range(200):
        matrix = view(np.random.default_rng(seed), config, 100)
        shown = warp(mask, matrix, 100, cv2.BORDER_CONSTANT)
        areas.append(shown.sum() / 255 / 400)
    assert 0.2 < min(areas) < 0.35  # 0.5²
    assert 1.9 < max(areas) < 2.5  # 1.5²


def test_a_pasted_subject_keeps_its_pixels_and_gets_the_ground_around_it():
    subject, background = np.full((64, 64, 3), 200, np.uint8), np.full((64, 64, 3), 50, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 20:40] = 255
    out = paste(subject, mask, background, np.random.default_rng(0))
    assert (out[24:36, 24:36] == 200).all()
    assert (out[:14] == 50).all()


def test_a_pasted_subject_is_not_mirrored_at_the_edge():
    photo = np.zeros((100, 100, 3), np.uint8)
    mask = np.zeros((100, 100), np.uint8)
    mask[30:70, :20] = 255  # at the left edge
    config = replace(PLAIN, resize=100, crop=0, scale=0.5)
    for seed in range(20):
        zoom = 1 + 0.5 * np.random.default_rng(seed).uniform(-1, 1)
        shown = run(config, photo, mask, seed, background=photo)[1]
        assert shown.sum() / 255 <= 800 * zoom**2 * 1.05


def test_colours_change_but_by_no_more_than_told():
    photo = np.full((8, 8, 3), 100, np.uint8)
    seen = [jitter_colour(photo, np.random.default_rng(s), 0.3)[0, 0] for s in range(50)]
    assert np.std(seen, axis=0).min() > 5
    assert np.min(seen) >= 60
    assert np.max(seen) <= 145
    assert np.array_equal(jitter_colour(photo, np.random.default_rng(0), 0.0), photo)


def test_degrading_keeps_the_picture_recognisable():
    photo = smooth_noise(64)
    for seed in range(10):
        out = degrade(photo, np.random.default_rng(seed))
        assert out.shape == photo.shape
        assert 0 < np.abs(out.astype(int) - photo).mean() < 15
