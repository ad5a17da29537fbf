import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.pictures import Outcome, opened
from u2cut.batch.bench import Alternative, Benchmark, example_photo

ENGINE = ("--model", "u2netp", "--size", "64", "--engine", "torch", "--device", "cpu")


def test_every_stage_and_setting_is_timed(u2cut: Callable[..., Outcome], disc: Path) -> None:
    found = json.loads(u2cut("bench", disc, *ENGINE, "--json").out)
    assert list(found["stages"]) == ["decode", "network", "matting", "encode"]
    assert all(seconds > 0 for seconds in found["stages"].values())
    settings = {a["setting"] for a in found["alternatives"]}
    assert {"--matting none", "--format webp", "--engine torch --precision fp32"} <= settings


def test_the_table_names_the_same_stages(u2cut: Callable[..., Outcome], disc: Path) -> None:
    result = u2cut("bench", disc, *ENGINE, "--verbose")
    assert result.code == 0
    text = result.out.decode()
    for word in ("decode", "network", "matting", "encode", "what would help"):
        assert word in text


def test_a_photo_that_is_none_is_an_input_error(
    u2cut: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no photo")
    for name in ("missing.jpg", "text.jpg", "."):
        outcome = u2cut("bench", tmp_path / name, *ENGINE)
        assert outcome.code == 3
        assert f"{tmp_path / name}: " in outcome.err


def test_advice_names_what_pays_the_best_first() -> None:
    found = Benchmark(1, 1.0, "torch, cuda:0, bf16", {"network": 0.6, "encode": 0.4})
    found.alternatives = [
        Alternative("network", "slow", 0.7),
        Alternative("network", "fast", 0.1),
        Alternative("encode", "faster still", 0.2),
        Alternative("encode", "hardly", 0.39),
    ]
    assert found.advice() == ["fast: 2.0 × faster", "faster still: 1.2 × faster"]


def test_the_made_up_photo_has_a_subject_and_the_size_asked_for() -> None:
    photo = opened(example_photo(0.3))
    assert abs(photo.shape[0] * photo.shape[1] / 3e5 - 1) < 0.05
    middle, corner = photo[photo.shape[0] // 2, photo.shape[1] // 2], photo[5, 5]
    assert np.abs(middle.astype(int) - corner).max() > 60
