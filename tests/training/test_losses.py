import math

import numpy as np
import pytest
import torch

from u2cut.training.losses import cross_entropy, iou_loss, ssim_loss, total_loss


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 24, 20, generator=generator)
    truth = (torch.rand(2, 1, 24, 20, generator=generator) > 0.5).float()
    valid = torch.ones_like(truth)
    valid[0, :, :6] = 0
    return logits, truth, valid


def test_cross_entropy_is_the_papers_over_the_known_pixels_of_each_photo(maps):
    logits, truth, valid = maps
    photos = []
    for k in range(2):
        p = 1 / (1 + np.exp(-logits[k].double().numpy()))
        t, sure = truth[k].numpy(), valid[k].numpy() > 0
        photos.append(-(t * np.log(p) + (1 - t) * np.log(1 - p))[sure].mean())
    assert cross_entropy(*maps).item() == pytest.approx(np.mean(photos), rel=1e-5)


def test_iou_loss_follows_its_definition(maps):
    logits, truth, valid = maps
    probability = torch.sigmoid(logits)
    expected = []
    for k in range(2):
        sure = valid[k].numpy() > 0
        p, t = probability[k].numpy()[sure], truth[k].numpy()[sure]
        expected.append(1 - ((p * t).sum() + 1) / ((p + t - p * t).sum() + 1))
    assert iou_loss(probability, truth, valid).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_ssim_loss_follows_its_definition(maps):
    logits, truth, valid = maps
    p = torch.where(valid > 0, torch.sigmoid(logits), truth).double().numpy()
    windows = [np.lib.stride_tricks.sliding_window_view(x, (11, 11), (2, 3)) for x in (p, truth)]
    a, b = (w.reshape(*w.shape[:4], -1) for w in windows)
    covariance = (a * b).mean(-1) - a.mean(-1) * b.mean(-1)
    likeness = (2 * a.mean(-1) * b.mean(-1) + 1e-4) * (2 * covariance + 9e-4)
    likeness /= (a.mean(-1) ** 2 + b.mean(-1) ** 2 + 1e-4) * (a.var(-1) + b.var(-1) + 9e-4)
    expected = ((1 - likeness) / 2).mean()
    assert ssim_loss(torch.sigmoid(logits), truth, valid).item() == pytest.approx(
        expected, rel=1e-3
    )


def test_unknown_pixels_make_no_difference(maps):
    logits, truth, valid = maps
    other = torch.where(valid > 0, truth, 1 - truth)
    for term in (cross_entropy, lambda x, t, k: iou_loss(torch.sigmoid(x), t, k)):
        assert term(logits, truth, valid) == term(logits, other, valid)


def test_a_perfect_map_costs_nothing(maps):
    _, truth, valid = maps
    assert iou_loss(truth, truth, valid).item() == 0
    assert ssim_loss(truth, truth, valid).item() == pytest.approx(0, abs=1e-6)


def test_by_default_all_seven_outputs_weigh_one(maps):
    logits, truth, valid = maps
    outputs = [logits * k for k in range(7)]
    loss, terms = total_loss(outputs, truth, valid, weights=[1.0] * 7)
    assert loss.item() == pytest.approx(terms.sum().item(), rel=1e-5)
    assert terms[0].item() == pytest.approx(math.log(2), rel=1e-5)


def test_weights_and_extra_terms_are_added(maps):
    logits, truth, valid = maps
    loss, terms = total_loss(
        [logits] * 7, truth, valid, weights=[2, 0, 0, 0, 0, 0, 0.5], iou=3, ssim=4
    )
    p = torch.sigmoid(logits)
    expected = 2.5 * terms[0] + 3 * iou_loss(p, truth, valid) + 4 * ssim_loss(p, truth, valid)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_photo_of_which_nothing_is_known_costs_nothing(maps):
    logits, truth, _ = maps
    assert cross_entropy(logits, truth, torch.zeros_like(truth)).item() == 0
