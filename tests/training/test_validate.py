import numpy as np
import pytest

from u2cut.training.validate import photo_scores, summarise


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_formulas_on_the_map_as_it_is(seed):
    rng = np.random.default_rng(seed)
    saliency = rng.uniform(0.2, 0.8, (40, 30)).astype(np.float32)
    saliency[0, :5] = 0.5  # which counts as the subject
    mask = rng.choice(np.array([0, 127, 128, 255], np.uint8), (40, 30))
    valid = rng.uniform(0, 1, (40, 30)) < 0.9
    truth, found = (mask > 127)[valid], (saliency >= 0.5)[valid]
    iou, mae = photo_scores(saliency, mask, valid)
    assert iou == (truth & found).sum() / (truth | found).sum()
    assert mae == pytest.approx(np.abs(saliency[valid] - truth).mean(), abs=1 / 510)


@pytest.mark.parametrize("valid", [True, False])
def test_nothing_found_where_nothing_is_is_perfect(valid):
    empty = np.zeros((8, 8), np.float32)
    assert photo_scores(empty, empty.astype(np.uint8), np.full((8, 8), valid)) == (1.0, 0.0)


def test_a_large_set_does_not_decide():
    measures = summarise([(1.0, 0.0)] * 9 + [(0.5, 0.2)], ["large"] * 9 + ["small"])
    assert measures["all"] == pytest.approx({"iou": 0.75, "mae": 0.1})
    assert measures["small"] == pytest.approx({"iou": 0.5, "mae": 0.2})
