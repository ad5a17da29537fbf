"""What training is for, on photos that are drawn; minutes long."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.ellipses import write_set
from u2cut.training.config import Network, Optimizer, Precision, Schedule, TrainConfig
from u2cut.training.loop import train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SMALL = TrainConfig(
    model=Network.U2NETP,
    batch_size=8,
    resize=96,
    crop=0,
    vflip=0,
    iou=1.0,
    schedule=Schedule.COSINE,
    warmup=10,
    clip=5,
    workers=0,
    precision=Precision.BF16,
    eval_every=10_000,
)


def last_iou(run):
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [r["val"]["all"]["iou"] for r in records if "val" in r][-1]


both_optimizers = pytest.mark.parametrize("optimizer", [Optimizer.ADAMW, Optimizer.MUON])


@both_optimizers
def test_eight_photos_are_learnt_by_heart(tmp_path, optimizer):
    data = write_set(tmp_path / "eight", count=8, size=(120, 160))
    config = replace(SMALL, optimizer=optimizer, data=[data], val=[data], steps=160, lr=2e-3)
    train(config, tmp_path / "run")
    assert last_iou(tmp_path / "run") > 0.97


def write_squares(folder, count, seed):
    """Photos with a large red disc, which is not wanted, and a blue square, which is."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        photo = np.clip(rng.normal(rng.uniform(60, 180), 15, (128, 128, 3)), 0, 255)
        photo = photo.astype(np.uint8)
        mask = np.zeros((128, 128), np.uint8)
        left, top = rng.integers(8, 20, 2), rng.integers(8, 90)
        cv2.circle(photo, (92, int(rng.integers(40, 88))), 28, (40, 40, 220), -1)
        corner = (int(left[0]), int(top))
        opposite = (corner[0] + 28, corner[1] + 28)
        cv2.rectangle(photo, corner, opposite, (220, 90, 40), -1)
        cv2.rectangle(mask, corner, opposite, 255, -1)
        cv2.imwrite(str(folder / f"images/{i}.png"), photo)
        cv2.imwrite(str(folder / f"masks/{i}.png"), mask)
    return folder


@pytest.mark.parametrize(("optimizer", "lr"), [(Optimizer.ADAMW, 5e-4), (Optimizer.MUON, 2e-3)])
def test_twenty_photos_of_a_new_kind_teach_the_bundled_weights(tmp_path, optimizer, lr):
    data = write_squares(tmp_path / "train", 20, seed=0)
    val = write_squares(tmp_path / "val", 12, seed=1)
    config = replace(SMALL, optimizer=optimizer, init="u2netp", data=[data], val=[val])
    train(replace(config, steps=1, lr=1e-9, warmup=0), tmp_path / "before")
    train(replace(config, steps=100, lr=lr), tmp_path / "after")
    before, after = last_iou(tmp_path / "before"), last_iou(tmp_path / "after")
    assert after > before + 0.2
    assert after > 0.8
