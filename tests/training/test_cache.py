import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from u2cut.datasets.pairs import Pair, find_pairs
from u2cut.errors import DataError, OutputError
from u2cut.training import cache as module
from u2cut.training.cache import cache_pairs, cache_photos, read_example


def write(folder, stem, photo, mask):
    pair = Pair(f"set/{stem}", folder / f"{stem}-photo.png", folder / f"{stem}-mask.png")
    cv2.imwrite(str(pair.image), photo)
    cv2.imwrite(str(pair.mask), mask)
    return pair


@pytest.fixture
def pair(tmp_path):
    photo = np.zeros((64, 64, 3), np.uint8)
    photo[:, 32:] = (10, 20, 30)  # BGR, as cv2 writes it
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    mask[32:40] = 128
    return write(tmp_path, "a", photo, mask)


def test_photos_are_rgb_and_masks_beside_them(tmp_path, pair):
    cache = cache_pairs(tmp_path / "cache", [pair], 64, ignore=None)
    assert len(cache) == 1
    assert cache.photo(0)[5, 40].tolist() == [30, 20, 10]
    assert cache.photo(0)[5, 5].tolist() == [0, 0, 0]
    assert cache.mask(0)[[0, 35, 50], 7].tolist() == [255, 128, 0]
    assert (cache.valid(0) == 255).all()


def test_the_ignored_value_is_unknown(tmp_path, pair):
    cache = cache_pairs(tmp_path / "cache", [pair], 64, ignore=128)
    assert cache.valid(0)[[31, 32, 39, 40], 7].tolist() == [255, 0, 0, 255]


def test_photos_are_squashed_to_the_size_asked_for(tmp_path, pair):
    cache = cache_pairs(tmp_path / "cache", [pair], 32, ignore=None)
    assert cache.photo(0).shape == (32, 32, 3)
    assert cache.mask(0)[[3, 29], 5].tolist() == [255, 0]


def test_nothing_is_decoded_twice(tmp_path, pair, monkeypatch):
    first = cache_pairs(tmp_path / "cache", [pair], 64, ignore=None)
    monkeypatch.setattr(module, "read_example", lambda *_: pytest.fail("decoded again"))
    second = cache_pairs(tmp_path / "cache", [pair], 64, ignore=None)
    assert np.array_equal(first.photo(0), second.photo(0))


def test_runs_that_begin_together_decode_once(tmp_path, pair, monkeypatch):
    decoded = []

    def slowly(*arguments):
        decoded.append(arguments)
        time.sleep(0.2)
        return read_example(*arguments)

    monkeypatch.setattr(module, "read_example", slowly)
    with ThreadPoolExecutor(3) as runs:
        begun = [
            runs.submit(cache_pairs, tmp_path / "cache", [pair], 64, ignore=None) for _ in range(3)
        ]
    assert len(decoded) == 1
    assert all((run.result().photo(0)[5, 40] == [30, 20, 10]).all() for run in begun)


def test_a_finished_cache_is_used_where_nothing_can_be_written(tmp_path, pair, monkeypatch):
    cache_pairs(tmp_path / "cache", [pair], 64, ignore=None)
    monkeypatch.setattr(module, "FileLock", lambda *_: pytest.fail("locked"))
    assert len(cache_pairs(tmp_path / "cache", [pair], 64, ignore=None)) == 1


def test_a_file_that_changed_is_decoded_again(tmp_path, pair):
    cache_pairs(tmp_path / "cache", [pair], 64, ignore=None)
    cv2.imwrite(str(pair.mask), np.full((64, 64), 255, np.uint8))
    os.utime(pair.mask, (1, 1))
    assert (cache_pairs(tmp_path / "cache", [pair], 64, ignore=None).mask(0) == 255).all()


def test_a_worker_process_gets_the_maps_by_name_and_not_by_value(tmp_path, pair):
    cache = cache_pairs(tmp_path / "cache", [pair], 64, ignore=None)
    pixels = cache.photo(0)
    sent = pickle.dumps(cache)
    assert len(sent) < 1000
    assert np.array_equal(pickle.loads(sent).photo(0), pixels)


def test_pairs_at_fault_are_named_and_the_others_kept(tmp_path, pair):
    blank = np.zeros((8, 8, 3), np.uint8)
    full = np.full((8, 8), 255, np.uint8)
    other_size = write(tmp_path, "size", blank, np.full((9, 8), 255, np.uint8))
    empty = write(tmp_path, "empty", blank, np.zeros((8, 8), np.uint8))
    unknown = write(tmp_path, "unknown", blank, np.full((8, 8), 200, np.uint8))
    zero_one = write(tmp_path, "zero-one", blank, np.ones((8, 8), np.uint8))
    broken = write(tmp_path, "broken", blank, full)
    broken.image.write_bytes(b"not a picture")
    gone = write(tmp_path, "gone", blank, full)
    gone.mask.unlink()
    pairs = [other_size, empty, unknown, pair, zero_one, broken, gone]
    cache = cache_pairs(tmp_path / "cache", pairs, 16, ignore=200)
    assert cache.kept == [3]
    said = [
        "8×9, but its photo is 8×8",
        "empty",
        "empty",
        "0 and 1",
        "broken-photo.png",
        "gone-mask.png",
    ]
    assert len(cache.problems) == len(said)
    assert all(text in line for text, line in zip(said, cache.problems, strict=True))


def test_a_masks_alpha_channel_is_the_mask(tmp_path):
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:4, :, 3] = 255
    pair = write(tmp_path, "a", np.zeros((8, 8, 3), np.uint8), rgba)
    assert read_example(pair, None)[1][[0, 7], 0].tolist() == [255, 0]


def test_backgrounds_need_no_masks(tmp_path, pair):
    cache = cache_photos(tmp_path / "cache", [pair.image], 32)
    assert cache.photo(0)[5, 28].tolist() == [30, 20, 10]


def test_an_unwritable_place_is_an_output_error(tmp_path, pair):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="--cache"):
        cache_pairs(tmp_path / "file", [pair], 32, ignore=None)


def test_a_real_set_goes_through(tmp_path, make_set):
    pairs = find_pairs([make_set(count=3)])
    photo, mask, valid = read_example(pairs[0], None)
    assert photo.shape == (70, 90, 3)
    assert mask.shape == valid.shape == (70, 90)
    with pytest.raises(DataError, match="nowhere"):
        read_example(Pair("set/x", tmp_path / "nowhere.png", pairs[0].mask), None)
