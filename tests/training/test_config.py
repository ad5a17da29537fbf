from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from u2cut.errors import DataError, UsageError
from u2cut.training.config import Network, Optimizer, Precision, Schedule, TrainConfig, check_data
from u2cut.training.config_file import format_config, read_config

DATA = TrainConfig(data=[Path("d")])


def test_the_defaults_are_the_published_recipe():
    config = TrainConfig()
    assert (config.resize, config.crop, config.hflip, config.vflip) == (320, 288, 0.5, 0.5)
    assert (config.batch_size, config.optimizer, config.lr) == (12, Optimizer.ADAM, 1e-3)
    assert (config.weight_decay, config.schedule) == (0, Schedule.CONSTANT)
    assert config.loss_weights == []  # 1 each
    assert not any([config.iou, config.ssim, config.ema, config.clip, config.warmup])


paths = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).map(Path)
shares = st.floats(0, 0.9, allow_subnormal=False)


@given(
    st.builds(
        TrainConfig,
        data=st.lists(paths, min_size=2, max_size=2),
        data_weight=st.just([]) | st.lists(st.floats(0, 1e6), min_size=2, max_size=2),
        val_split=shares,
        ignore=st.none() | st.integers(0, 255),
        skip_bad=st.booleans(),
        model=st.sampled_from(Network),
        freeze=st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
        lr=st.floats(1e-9, 1),
        precision=st.sampled_from(Precision),
        steps=st.integers(0, 10**9),
    )
)
def test_a_recipe_survives_the_way_through_its_file(tmp_path_factory, config):
    file = tmp_path_factory.mktemp("config_file") / "config_file.toml"
    file.write_text(format_config(config), "utf-8")
    assert replace(TrainConfig(), **read_config(file)) == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stepz = 3", "stepz"),
        ("steps = 1.5", "steps"),
        ("steps = true", "steps"),
        ("data = 'd'", "data"),
        ("lr = '1e-3'", "lr"),
        ("skip_bad = 1", "skip_bad"),
        ("model = 'u3net'", "u3net"),
        ("hflip = [0.5]", "hflip"),
        ("steps = ", "can't use"),
    ],
)
def test_a_file_with_a_wrong_entry_is_refused_by_name(tmp_path, text, said):
    file = tmp_path / "config_file.toml"
    file.write_text(text)
    with pytest.raises(DataError, match=said):
        read_config(file)


def test_whole_numbers_do_for_fractions(tmp_path):
    file = tmp_path / "config_file.toml"
    file.write_text("lr = 1\npaste = [0, 1]")
    assert read_config(file) == {"lr": 1.0, "paste": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": []}, "--data"),
        ({"images": Path("i"), "masks": Path("m")}, "--data"),
        ({"data": [], "images": Path("i")}, "--masks"),
        ({"val": [Path("v")], "val_split": 0.1}, "--val-split"),
        ({"crop": 400}, "--crop"),
        ({"crop": 32}, "--crop"),
        ({"resize": 63, "crop": 0}, "--resize"),
        ({"hflip": 1.5}, "--hflip"),
        ({"batch_size": 0}, "--batch-size"),
        ({"data_weight": [1.0, 2.0]}, "--data-weight"),
        ({"paste": [0.5]}, "--backgrounds"),
        ({"paste": [2.0], "backgrounds": [Path("b")]}, "--paste"),
        ({"loss_weights": [1.0]}, "--loss-weights"),
        ({"ignore": 256}, "--ignore"),
        ({"freeze_bn": True}, "--init"),
        ({"unlabelled": [Path("u")]}, "--distill"),
        ({"distill_share": [0.5]}, "--distill"),
        ({"distill": "u2net", "distill_share": [0.5, 0.5]}, "--distill-share"),
        ({"distill": "u2net", "distill_share": [1.5]}, "--distill-share"),
    ],
)
def test_contradictions_are_refused_with_the_option_named(changes, said):
    check_data(DATA)
    with pytest.raises(UsageError, match=said):
        check_data(replace(DATA, **changes))
