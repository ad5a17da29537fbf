import logging
from dataclasses import replace

import pytest

from u2cut.errors import DataError
from u2cut.training.config import TrainConfig
from u2cut.training.data import load_data

SMALL = TrainConfig(resize=64, crop=0)


def load(tmp_path, **changes):
    return load_data(replace(SMALL, **changes), tmp_path / "cache")


def test_each_folder_keeps_its_own_weight(tmp_path, make_set):
    data = load(tmp_path, data=[make_set("a", 3), make_set("b", 2)], data_weight=[0.5, 4.0])
    assert data.weights.tolist() == [0.5, 0.5, 0.5, 4, 4]
    assert data.folders == [0, 0, 0, 1, 1]
    assert data.epoch == 10


def test_a_share_of_every_folder_is_held_back(tmp_path, make_set):
    data = load(tmp_path, data=[make_set("a", 10), make_set("b", 4)], val_split=0.5)
    assert data.val_sets == ["a"] * 5 + ["b"] * 2
    assert data.folders == [0] * 5 + [1] * 2


def test_a_small_share_of_a_small_folder_is_one_pair_and_never_the_last(tmp_path, make_set):
    data = load(tmp_path, data=[make_set("a", 4), make_set("b", 1)], val_split=0.01)
    assert data.val_sets == ["a"]
    assert data.folders == [0, 0, 0, 1]


def test_another_seed_holds_back_others(tmp_path, make_set):
    folder = make_set("a", 10)
    held = [load(tmp_path, data=[folder], val_split=0.5, seed=s).val.path for s in (0, 0, 1)]
    assert held[0] == held[1] != held[2]


def test_a_list_of_names_is_held_back(tmp_path, make_set):
    names = tmp_path / "names.txt"
    names.write_text("a/001\nb/003\n")
    data = load(tmp_path, data=[make_set("a", 4), make_set("b", 4)], val_names=names)
    assert data.val_sets == ["a", "b"]
    assert data.folders == [0, 0, 0, 1, 1, 1]


def test_validation_data_of_its_own(tmp_path, make_set):
    data = load(tmp_path, data=[make_set("a", 3)], val=[make_set("v", 2)])
    assert (len(data.cache), data.val_sets) == (3, ["v", "v"])


def test_loose_folders_of_photos_and_masks(tmp_path, make_set):
    folder = make_set("a", 3)
    data = load(tmp_path, images=folder / "images", masks=folder / "masks")
    assert len(data.cache) == 3
    assert len(data.val) == 0


def spoil(folder):
    """Make one photo unreadable, and take one photo and one mask away."""
    (folder / "images" / "000.png").write_bytes(b"")
    (folder / "images" / "001.png").unlink()
    (folder / "masks" / "002.png").unlink()


def test_every_file_at_fault_is_named(tmp_path, make_set):
    folder = make_set("a", 5)
    spoil(folder)
    with pytest.raises(DataError) as caught:
        load(tmp_path, data=[folder])
    for name in (
        "images/000.png",
        "masks/001.png",
        "images/002.png",
        "--skip-bad",
        "3 invalid files",
    ):
        assert name in str(caught.value)


def test_files_at_fault_can_be_skipped_but_not_silently(tmp_path, make_set, caplog):
    folder = make_set("a", 5)
    spoil(folder)
    with caplog.at_level(logging.WARNING, "u2cut"):
        data = load(tmp_path, data=[folder], skip_bad=True, data_weight=[2.0])
    assert len(data.cache) == len(data.weights) == 2
    assert len(caplog.messages) == 3


def test_backgrounds_are_read(tmp_path, make_set):
    folder = make_set("a", 3)
    data = load(tmp_path, data=[folder], backgrounds=[folder / "images"], paste=[1.0])
    assert [len(g) for g in data.backgrounds] == [3]


@pytest.mark.parametrize("changes", [{"data_weight": [0.0]}, {"val_split": 0.9}])
def test_no_pair_left_is_an_error(tmp_path, make_set, changes):
    with pytest.raises(DataError, match="left"):
        load(tmp_path, data=[make_set("a", 1)], **changes)
