import itertools
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest

from u2cut.datasets.pairs import find_pairs
from u2cut.errors import DataError
from u2cut.evaluation.judge import Fault, Judged, find_maps, judge_folder, judge_network
from u2cut.evaluation.metrics import score
from u2cut.saliency import preprocess, upsample


@pytest.fixture
def pairs(tmp_path):
    """Seven photos of a bright disc, with masks; the maps are blurred masks."""
    for folder in ("images", "masks", "maps"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for i in range(7):
        truth = np.zeros((40, 50), np.uint8)
        cv2.circle(truth, (10 + 4 * i, 20), 8, 255, -1)
        cv2.imwrite(str(tmp_path / f"set/masks/{i}.png"), truth)
        cv2.imwrite(str(tmp_path / f"set/images/{i}.png"), np.dstack([truth // 2 + 60] * 3))
        cv2.imwrite(str(tmp_path / f"set/maps/{i}.png"), cv2.GaussianBlur(truth, (0, 0), i + 0.5))
    return find_pairs([tmp_path / "set"])


class BrightnessNetwork:
    """Finds bright things: a stand-in that keeps the contract of a real one."""

    batch_size = 3

    def __init__(self):
        self.batches = []

    def preprocess(self, image):
        return preprocess(image, 32)

    def predict(self, inputs):
        self.batches.append(len(inputs))
        return [Prediction(1 / (1 + np.exp(-5 * (x[0] - x[0].mean())))) for x in inputs]


class Prediction:
    def __init__(self, fused):
        self.fused = fused


def draw(frame, fused):
    return upsample(fused, frame.image.shape[:2])


def test_maps_in_files_are_scored_in_order(pairs, tmp_path):
    maps = find_maps(pairs, tmp_path / "set/maps")
    outcomes = list(judge_folder(pairs, maps, ignore=None, workers=3))
    assert [outcome.pair for outcome in outcomes] == pairs
    for pair, path, outcome in zip(pairs, maps, outcomes, strict=True):
        saliency, truth = (cv2.imread(str(p), cv2.IMREAD_GRAYSCALE) for p in (path, pair.mask))
        alone = score(saliency, truth).scores  # OpenCV's filters differ by 1e-10 between runs
        assert asdict(outcome.photo.scores) == pytest.approx(asdict(alone), abs=1e-7)


def test_a_network_sees_batches_and_its_maps_come_back_in_order(pairs):
    network = BrightnessNetwork()
    outcomes = list(judge_network(pairs, network, draw, ignore=None, workers=2))
    assert network.batches == [3, 3, 1]
    assert [outcome.pair for outcome in outcomes] == pairs
    assert min(outcome.photo.scores.iou for outcome in outcomes) > 0.8
    centres = [cv2.moments(outcome.saliency)["m10"] for outcome in outcomes]
    assert centres == sorted(centres)


def test_few_photos_are_under_way_however_many_there_are(pairs):
    drawn = 0

    def endless():
        nonlocal drawn
        for pair in itertools.cycle(pairs):
            drawn += 1
            yield pair

    outcomes = judge_network(endless(), BrightnessNetwork(), draw, ignore=None, workers=2)
    for _ in range(20):
        assert isinstance(next(outcomes), Judged)
    outcomes.close()
    assert drawn < 20 + 20


def test_a_file_at_fault_costs_only_its_own_pair(pairs):
    pairs[1].image.write_bytes(b"not a photo")
    pairs[2].mask.unlink()
    cv2.imwrite(str(pairs[4].mask), np.zeros((50, 40), np.uint8))
    cv2.imwrite(str(pairs[5].mask), np.eye(40, 50, dtype=np.uint8))
    outcomes = list(judge_network(pairs, BrightnessNetwork(), draw, ignore=None, workers=2))
    faults = {i: o.reason for i, o in enumerate(outcomes) if isinstance(o, Fault)}
    assert sorted(faults) == [1, 2, 4, 5]
    for i, words in {1: "1.png", 2: "2.png", 4: "40×50", 5: "values are 0 and 1"}.items():
        assert words in faults[i]


def test_a_map_of_another_size_is_resized_to_its_truth(pairs, tmp_path):
    maps = find_maps(pairs, tmp_path / "set/maps")
    cv2.imwrite(str(maps[0]), cv2.resize(cv2.imread(str(maps[0]), 0), (100, 80)))
    (judged,) = judge_folder(pairs[:1], maps[:1], ignore=None, workers=1)
    assert judged.saliency.shape == (40, 50)
    assert judged.photo.scores.iou > 0.95


def test_a_cutout_is_judged_by_its_alpha(pairs, tmp_path):
    truth = cv2.imread(str(pairs[0].mask), cv2.IMREAD_GRAYSCALE)
    path = tmp_path / "cutout.png"
    cv2.imwrite(str(path), np.dstack([np.full((40, 50, 3), 90, np.uint8), truth]))
    (judged,) = judge_folder(pairs[:1], [path], ignore=None, workers=1)
    assert judged.photo.scores.mae == 0


def test_maps_lie_in_a_folder_or_in_one_of_the_sets_name(pairs, tmp_path):
    flat = find_maps(pairs, tmp_path / "set/maps")
    (tmp_path / "all").mkdir()
    (tmp_path / "set/maps").rename(tmp_path / "all/set")
    nested = find_maps(pairs, tmp_path / "all")
    assert [path.name for path in flat] == [path.name for path in nested]


def test_every_missing_map_is_named(pairs, tmp_path):
    for i in (2, 5):
        (tmp_path / f"set/maps/{i}.png").unlink()
    with pytest.raises(DataError, match="2 invalid files") as error:
        find_maps(pairs, tmp_path / "set/maps")
    assert "images/2.png: no map" in str(error.value)
    assert "images/5.png: no map" in str(error.value)


def test_a_map_that_two_sets_could_mean_is_refused(pairs, tmp_path):
    other = replace(pairs[3], name="other/3")
    with pytest.raises(DataError, match=r"3\.png: the map of set/3 or of other/3"):
        find_maps([*pairs, other], tmp_path / "set/maps")
