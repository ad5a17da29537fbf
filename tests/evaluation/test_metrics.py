import warnings
from dataclasses import astuple

import cv2
import numpy as np
import py_sod_metrics
import pytest

from u2cut.evaluation.metrics import score


def noise(rng, shape, sigma):
    return cv2.GaussianBlur(rng.standard_normal(shape).astype(np.float32), (0, 0), sigma)


def truth_like(rng, shape):
    """A random blob of a random size, (H, W) uint8."""
    field = noise(rng, shape, rng.uniform(1, 15))
    return np.where(field > np.quantile(field, rng.uniform(0.05, 0.97)), 255, 0).astype(np.uint8)


def eight_bit(values):
    return np.clip(values, 0, 255).astype(np.uint8)


MAPS = {
    "white noise": lambda rng, truth: rng.integers(0, 256, truth.shape).astype(np.uint8),
    "few levels": lambda rng, truth: rng.integers(20, 23, truth.shape).astype(np.uint8),
    "the truth": lambda rng, truth: truth.copy(),
    "blurred": lambda rng, truth: cv2.GaussianBlur(truth, (0, 0), 4),
    "faint and noisy": lambda rng, truth: eight_bit(truth * 0.5 + rng.normal(40, 20, truth.shape)),
    "another subject": lambda rng, truth: eight_bit(128 + 300 * noise(rng, truth.shape, 5)),
    "empty": lambda rng, truth: np.zeros_like(truth),
    "full": lambda rng, truth: np.full_like(truth, 255),
}
TRUTHS = {
    "blob": truth_like,
    "scattered": lambda rng, shape: np.where(rng.random(shape) < 0.1, 255, 0).astype(np.uint8),
    "one pixel in the last column": lambda rng, shape: np.pad(
        np.full((1, 1), 255, np.uint8), ((shape[0] // 2, (shape[0] - 1) // 2), (shape[1] - 1, 0))
    ),
    "empty": lambda rng, shape: np.zeros(shape, np.uint8),
    "full": lambda rng, shape: np.full(shape, 255, np.uint8),
}


def oracle(saliency, truth):
    """The same figures by pysodmetrics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metrics = {
            "f": py_sod_metrics.Fmeasure(),
            "mae": py_sod_metrics.MAE(),
            "s": py_sod_metrics.Smeasure(),
            "e": py_sod_metrics.Emeasure(),
            "weighted": py_sod_metrics.WeightedFmeasure(),
        }
        results = {}
        for metric in metrics.values():
            metric.step(saliency, truth)
            results |= metric.get_results()
    return results


@pytest.mark.parametrize("truth_kind", TRUTHS)
@pytest.mark.parametrize("map_kind", MAPS)
def test_scores_equal_those_of_pysodmetrics(map_kind, truth_kind):
    rng = np.random.default_rng([ord(c) for c in map_kind + truth_kind])
    for shape in ((61, 48), (90, 131)):
        truth = TRUTHS[truth_kind](rng, shape)
        saliency = MAPS[map_kind](rng, truth)
        photo, theirs = score(saliency, truth), oracle(saliency, truth)
        ours = photo.scores
        assert ours.mae == pytest.approx(theirs["mae"], abs=1e-6)
        assert ours.weighted_f == pytest.approx(theirs["wfm"], abs=1e-6)
        if not np.isnan(theirs["sm"]):  # pysodmetrics divides by an empty quadrant
            assert ours.s_measure == pytest.approx(theirs["sm"], abs=1e-6)
        assert ours.adaptive_f == pytest.approx(theirs["fm"]["adp"], abs=1e-6)
        assert ours.mean_f == pytest.approx(theirs["fm"]["curve"].mean(), abs=1e-6)
        assert ours.e_measure == pytest.approx(theirs["em"]["curve"].mean(), abs=1e-6)
        np.testing.assert_allclose(photo.precision, theirs["pr"]["p"], atol=1e-6)
        np.testing.assert_allclose(photo.recall, theirs["pr"]["r"], atol=1e-6)


def test_the_s_measure_of_a_subject_at_the_edge_is_a_number():
    truth = np.zeros((40, 30), np.uint8)
    truth[10:20, -1] = 255
    assert score(truth, truth).scores.s_measure == pytest.approx(1.0)


def test_a_perfect_map_has_perfect_scores():
    truth = truth_like(np.random.default_rng(3), (60, 80))
    photo = score(truth, truth)
    ours = photo.scores
    assert (ours.mae, ours.iou, ours.boundary_f, ours.adaptive_f) == (0, 1, 1, 1)
    assert ours.weighted_f == pytest.approx(1)
    assert ours.s_measure == pytest.approx(1)
    assert photo.matte is None


def test_iou_is_taken_at_one_half_of_the_stretched_map():
    truth = np.zeros((10, 10), np.uint8)
    truth[:, :5] = 255
    saliency = np.full((10, 10), 10, np.uint8)
    saliency[:, 3:8] = 60  # at (60 - 10) / (110 - 10): positive
    saliency[0, 0] = 110
    assert score(saliency, truth).scores.iou == pytest.approx(21 / (50 + 30))


def test_nothing_found_where_nothing_is_agrees():
    empty = np.zeros((20, 20), np.uint8)
    photo = score(empty, empty)
    ours = photo.scores
    assert (ours.mae, ours.iou, ours.boundary_f, ours.s_measure) == (0, 1, 1, 1)
    assert not photo.precision.any()


def test_levels_up_to_127_are_not_the_subject():
    truth = np.full((8, 8), 127, np.uint8)
    truth[:4] = 128
    saliency = np.where(truth > 127, 255, 0).astype(np.uint8)
    assert score(saliency, truth).scores.mae == 0


def test_unknown_pixels_count_neither_for_nor_against():
    rng = np.random.default_rng(8)
    truth = truth_like(rng, (50, 70))
    band = cv2.dilate(truth, np.ones((5, 5))) != cv2.erode(truth, np.ones((5, 5)))
    truth[band] = 128
    good, bad = truth.copy(), truth.copy()
    good[band], bad[band] = 0, rng.integers(0, 256, int(band.sum()))
    ours = score(bad, truth, ignore=128).scores
    theirs = score(good, truth, ignore=128).scores
    assert ours.mae == theirs.mae == 0
    for name in ("weighted_f", "s_measure", "boundary_f", "adaptive_f", "iou"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-9), name
        assert getattr(theirs, name) == pytest.approx(1, abs=1e-6), name
    assert score(bad, truth).scores.mae > 0.01


def test_ignoring_a_level_that_does_not_occur_changes_nothing():
    rng = np.random.default_rng(9)
    truth = truth_like(rng, (50, 70))
    saliency = rng.integers(0, 256, truth.shape).astype(np.uint8)
    plain, ignoring = score(saliency, truth), score(saliency, truth, ignore=128)
    assert astuple(plain.scores) == pytest.approx(astuple(ignoring.scores), abs=1e-9)
    np.testing.assert_array_equal(plain.precision, ignoring.precision)


def test_only_a_soft_truth_has_matte_scores():
    mask = truth_like(np.random.default_rng(2), (60, 60))
    soft = cv2.GaussianBlur(mask, (0, 0), 3)
    assert score(mask, soft).matte is not None
    assert score(soft, mask).matte is None
    trimap = np.where((soft > 40) & (soft < 215), 128, mask).astype(np.uint8)
    assert score(mask, trimap).matte is None
