"""What is learnt from a teacher, photo by photo, and in a run."""

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.ellipses import write_set
from u2cut.engines.predictor import Predictor
from u2cut.errors import OutputError, WeightsError
from u2cut.training import distill
from u2cut.training.cache import cache_pairs
from u2cut.training.config import Network, TrainConfig
from u2cut.training.data import load_data
from u2cut.training.distill import choose, enough, mix, sharpened, teach
from u2cut.training.loop import train

SIDE = 64
NOTHING = np.zeros((SIDE, SIDE), np.bool_)
EVERYTHING = ~NOTHING
CONFIG = TrainConfig(
    model=Network.U2NETP,
    init="u2netp",
    distill="u2netp",
    freeze_bn=True,
    batch_size=2,
    resize=SIDE,
    crop=0,
    workers=0,
    steps=2,
)


def box(left: int, right: int, high: float = 1.0, low: float = 0.0) -> np.ndarray:
    """A map with a subject over some columns."""
    fused = np.full((SIDE, SIDE), low, np.float32)
    fused[16:48, left:right] = high
    return fused


def mask_of(fused: np.ndarray) -> np.ndarray:
    return np.where(fused > 0.5, 255, 0).astype(np.uint8)


def test_with_a_mask_the_nearest_view_is_learnt() -> None:
    mask = mask_of(box(16, 48))
    near, far = box(17, 48, 0.9, 0.05), box(30, 60)
    near[0, 0], near[0, 1] = 0, 1
    for maps in ([far, near], [near, far]):
        target = choose(maps, mask, EVERYTHING)
        assert np.array_equal(target, np.rint(sharpened(near) * 255).astype(np.uint8))


def test_a_teacher_that_sees_something_else_does_not_overrule_the_mask() -> None:
    mask, valid = mask_of(box(0, 20)), EVERYTHING.copy()
    valid[:, 18:22] = False
    target = choose([box(40, 60)], mask, valid)
    assert np.array_equal(target[valid], mask[valid])
    assert not target[20:40, 18:20].any()  # where the mask is unknown, the teacher's word stands


def test_without_a_mask_the_least_uncertain_view_is_learnt() -> None:
    sure, vague = box(10, 50), box(10, 50, 0.55)
    vague[0, 0] = 1  # so that it isn't stretched
    mask = np.zeros((SIDE, SIDE), np.uint8)
    assert np.array_equal(choose([vague, sure], mask, NOTHING), mask_of(sure))


def test_a_photo_without_a_sure_subject_keeps_its_map() -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    ramp = np.tile(np.linspace(0.2, 0.6, SIDE, dtype=np.float32), (SIDE, 1))
    for vague in (box(10, 50, 0.2, 0.1), ramp):
        assert np.array_equal(
            choose([vague, vague * 0.9], mask, NOTHING), (vague * 255 + 0.5).astype(np.uint8)
        )


def test_maps_of_other_sizes_are_fitted() -> None:
    small = cv2.resize(box(16, 48), (32, 32), interpolation=cv2.INTER_AREA)
    target = choose([small], mask_of(box(16, 48)), EVERYTHING)
    assert target.shape == (SIDE, SIDE)
    assert np.mean(np.abs(target / 255.0 - box(16, 48))) < 0.02


def test_other_views_are_seen_only_where_the_first_will_not_do() -> None:
    mask = mask_of(box(16, 48))
    assert enough(box(16, 48), mask, EVERYTHING)
    assert not enough(box(20, 60), mask, EVERYTHING)
    assert enough(box(16, 48), mask, NOTHING)
    assert not enough(box(16, 48, 0.8, 0.1) + np.eye(SIDE, dtype=np.float32) * 0.1, mask, NOTHING)
    assert not enough(box(16, 48, 0.2), mask, NOTHING)


def test_sharpening_doubles_the_log_odds() -> None:
    m = np.linspace(0.01, 0.99, 99, dtype=np.float32)
    odds = np.log(m / (1 - m))
    ours = sharpened(m)
    assert np.allclose(np.log(ours / (1 - ours)), 2 * odds, atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_weighs_the_losses_to_teacher_and_mask(share: float) -> None:
    rng = np.random.default_rng(0)
    target = rng.integers(0, 256, (8, 8)).astype(np.uint8)
    mask = (rng.integers(0, 2, (8, 8)) * 255).astype(np.uint8)
    valid = np.full((8, 8), 255, np.uint8)
    valid[0] = 0
    mixed = torch.from_numpy(mix(target, mask, valid, share)[1:] / 255.0)
    logits = torch.randn(7, 8, dtype=torch.float64)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    parts = [loss(logits, torch.from_numpy(part[1:] / 255.0)) for part in (target, mask)]
    expected = share * parts[0] + (1 - share) * parts[1]
    assert loss(logits, mixed).item() == pytest.approx(expected.item(), abs=4e-3)
    assert np.array_equal(mix(target, mask, valid, share)[0], target[0])


@pytest.fixture
def cache(tmp_path: Path):
    folder = write_set(tmp_path / "set", 3, seed=1)
    from u2cut.datasets.pairs import find_pairs

    photos = sorted((write_set(tmp_path / "bare", 2, seed=2) / "images").iterdir())
    return cache_pairs(tmp_path / "cache", find_pairs([folder]), SIDE, None, unlabelled=photos)


def test_a_teacher_that_was_stopped_goes_on_where_it_was(cache, monkeypatch) -> None:
    whole = teach(cache, "u2netp", "cpu", quiet=True)
    assert len(whole.path.read_bytes()) == 5 * SIDE * SIDE
    expected = [whole.target(k).copy() for k in range(5)]
    again = whole.path.with_suffix(".part")
    whole.path.rename(again)
    os.truncate(again, 3 * SIDE * SIDE + 77)  # killed in the middle of the fourth
    seen = []
    fused_map = Predictor.fused_map

    def counted(self, image):
        seen.append(image)
        return fused_map(self, image)

    monkeypatch.setattr(Predictor, "fused_map", counted)
    resumed = teach(cache, "u2netp", "cpu", quiet=True)
    assert len(seen) == 2
    for k in range(5):
        assert np.array_equal(resumed.target(k), expected[k])
    monkeypatch.setattr(distill, "_write", None)  # and now it isn't asked at all
    teach(cache, "u2netp", "cpu", quiet=True)


def test_what_the_teacher_needs_is_refused_by_name(cache, tmp_path) -> None:
    with pytest.raises(WeightsError, match="nobody"):
        teach(cache, "nobody", "cpu", quiet=True)
    (tmp_path / "cache").rename(tmp_path / "gone")
    (tmp_path / "cache").write_text("")
    with pytest.raises(OutputError, match="--cache"):
        teach(cache, "u2netp", "cpu", quiet=True)


def test_photos_without_masks_are_learnt_from_the_teacher(tmp_path) -> None:
    labelled, bare = write_set(tmp_path / "set", 3, seed=1), write_set(tmp_path / "bare", 2, seed=2)
    config = replace(
        CONFIG, data=[labelled], unlabelled=[bare / "images"], distill_share=[0.0], paste=[0.0]
    )
    data = load_data(config, tmp_path / "cache", quiet=True)
    assert len(data.cache) == 5
    assert data.epoch == 5
    assert data.targets is not None
    for k in range(5):
        truth, _ = data.truth(k, 0.0)
        own = data.cache.mask(k) if k < 3 else data.targets.target(k)
        assert np.array_equal(truth, own)
        assert np.array_equal(data.truth(k, 1.0)[0], data.targets.target(k))


@pytest.mark.parametrize(
    "changes", [{"distill": "none"}, {"distill_share": [0.5]}, {"distill_share": [0.0]}]
)
def test_a_run_learns_from_the_targets_that_were_asked_for(tmp_path, changes) -> None:
    config = replace(CONFIG, data=[write_set(tmp_path / "set", 4, seed=1)])
    for name, one in (("taught", config), ("other", replace(config, **changes))):
        train(one, tmp_path / name, quiet=True)
    taught, other = (load_file(tmp_path / n / "model.safetensors") for n in ("taught", "other"))
    assert any(not torch.equal(taught[key], other[key]) for key in taught)


def test_a_run_without_any_mask(tmp_path) -> None:
    bare = write_set(tmp_path / "bare", 4, seed=2) / "images"
    train(replace(CONFIG, unlabelled=[bare]), tmp_path / "run", quiet=True)
    assert (tmp_path / "run/model.safetensors").is_file()


def test_photos_whose_share_is_none_cost_no_prediction(tmp_path, monkeypatch) -> None:
    write_set(tmp_path / "clean", 3)
    write_set(tmp_path / "coarse", 2)
    seen = []
    fused_map = Predictor.fused_map

    def count(self, photo):
        seen.append(photo)
        return fused_map(self, photo)

    monkeypatch.setattr(Predictor, "fused_map", count)
    config = TrainConfig(
        data=[tmp_path / "clean", tmp_path / "coarse"],
        distill="u2netp",
        distill_share=[0, 1],
        resize=64,
        crop=0,
    )
    data = load_data(config, tmp_path / "cache")
    assert len(seen) == 2
    for index in range(3):
        mask, valid = data.truth(index, 0.0)
        assert np.array_equal(mask, data.cache.mask(index))
        assert np.array_equal(valid, data.cache.valid(index))
