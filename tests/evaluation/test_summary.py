import warnings
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics
import pytest

from u2cut.datasets.pairs import Pair
from u2cut.evaluation.judge import Judged
from u2cut.evaluation.metrics import score
from u2cut.evaluation.summary import RunningMeans, Worst


def photos(count):
    rng = np.random.default_rng(4)
    for _ in range(count):
        field = cv2.GaussianBlur(rng.standard_normal((60, 70)), (0, 0), 8)
        truth = np.where(field > 0, 255, 0).astype(np.uint8)
        noise = cv2.GaussianBlur(rng.standard_normal((60, 70)), (0, 0), 2)
        yield np.clip(128 + 2000 * field + 300 * noise, 0, 255).astype(np.uint8), truth


def test_the_greatest_f_is_that_of_the_mean_precision_and_recall():
    means = RunningMeans()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        oracle = py_sod_metrics.Fmeasure()
    for saliency, truth in photos(6):
        means.add(score(saliency, truth))
        oracle.step(saliency, truth)
    results = oracle.get_results()
    precision, recall = results["pr"]["p"], results["pr"]["r"]
    best = (1.3 * precision * recall / (0.3 * precision + recall)).max()
    found = means.means()
    assert found.photos == 6
    assert found.max_f == pytest.approx(best, abs=1e-9)
    assert found.scores.mean_f == pytest.approx(results["fm"]["curve"].mean(), abs=1e-9)
    assert found.scores.adaptive_f == pytest.approx(results["fm"]["adp"], abs=1e-9)


def test_joined_sets_have_the_means_of_all_their_photos():
    one, other, both = RunningMeans(), RunningMeans(), RunningMeans()
    for i, (saliency, truth) in enumerate(photos(5)):
        photo = score(saliency, truth)
        (one if i < 2 else other).add(photo)
        both.add(photo)
    one.join(other)
    assert one.means().photos == 5
    assert one.means().max_f == pytest.approx(both.means().max_f)
    assert asdict(one.means().scores) == pytest.approx(asdict(both.means().scores))


def test_a_set_of_masks_brings_no_mattes_into_the_whole():
    mask, smooth = np.zeros((2, 60, 60), np.uint8)
    cv2.circle(mask, (30, 30), 20, 255, -1)
    cv2.circle(smooth, (30, 30), 20, 255, -1, lineType=cv2.LINE_AA)
    soft = cv2.GaussianBlur(mask, (0, 0), 4)
    masks, mattes, whole = RunningMeans(), RunningMeans(), RunningMeans()
    masks.add(score(mask, smooth))
    mattes.add(score(mask, soft))
    for means in (masks, mattes):
        whole.join(means)
    assert (whole.means().photos, whole.means().mattes) == (2, 1)
    assert whole.means().matte == mattes.means().matte


def test_one_soft_truth_makes_mattes_of_all_with_smooth_edges():
    mask = np.zeros((60, 60), np.uint8)
    cv2.circle(mask, (30, 30), 20, 255, -1)
    smooth = np.zeros_like(mask)
    cv2.circle(smooth, (30, 30), 20, 255, -1, lineType=cv2.LINE_AA)
    soft = cv2.GaussianBlur(mask, (0, 0), 4)
    means = RunningMeans()
    means.add(score(mask, mask))
    means.add(score(mask, smooth))
    assert (means.means().mattes, means.means().matte) == (0, None)
    means.add(score(mask, soft))
    found = means.means()
    assert (found.photos, found.mattes) == (3, 2)
    expected = sum(np.abs(mask.astype(float) - t).sum() for t in (smooth, soft)) / 255 / 1000 / 2
    assert found.matte is not None
    assert found.matte.sad == pytest.approx(expected, rel=1e-5)


def test_the_worst_photos_come_worst_first():
    truth = np.zeros((300, 1000), np.uint8)
    truth[:, :500] = 255
    worst = Worst(3)
    for i, wrong in enumerate((10, 400, 30, 400, 200)):
        saliency = truth.copy()
        saliency[:, 500 : 500 + wrong] = 255
        pair = Pair(f"s/{i}", Path(f"{i}.jpg"), Path(f"{i}.png"))
        worst.add(Judged(pair, saliency, score(saliency, truth)))
    bad = worst.photos()
    assert [b.pair.name for b in bad] == ["s/1", "s/3", "s/4"]
    assert bad[0].mae == pytest.approx(0.4)
    assert bad[0].saliency.shape == (90, 300)


def test_no_worst_photos_are_kept_unasked():
    truth = np.eye(20, dtype=np.uint8) * 255
    worst = Worst(0)
    worst.add(Judged(Pair("s/x", Path("x"), Path("x")), truth, score(truth, truth)))
    assert worst.photos() == []
