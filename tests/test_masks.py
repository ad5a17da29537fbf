import os

import cv2
import numpy as np
import pytest

from u2cut.datasets.masks import read_frame, read_grey, read_pair, read_truth
from u2cut.datasets.pairs import Pair
from u2cut.errors import DataError


def test_a_cutouts_alpha_is_its_mask_and_an_opaque_pictures_grey(tmp_path):
    rgba = np.full((4, 6, 4), 90, np.uint8)
    rgba[:2, :, 3] = 255
    cv2.imwrite(str(tmp_path / "cutout.png"), rgba)
    cv2.imwrite(str(tmp_path / "grey.png"), rgba[:, :, 3])
    for name in ("cutout.png", "grey.png"):
        assert read_grey(tmp_path / name).tolist() == [[255] * 6] * 2 + [[90] * 6] * 2


def test_a_mask_of_zeros_and_ones_is_no_truth(tmp_path):
    cv2.imwrite(str(tmp_path / "mask.png"), np.ones((4, 4), np.uint8))
    assert read_grey(tmp_path / "mask.png").max() == 1  # as a map it may be faint
    with pytest.raises(DataError, match=r"mask\.png: its values are 0 and 1"):
        read_truth(tmp_path / "mask.png")


def test_a_mask_of_another_size_is_refused(tmp_path):
    pair = Pair("set/a", tmp_path / "photo.png", tmp_path / "mask.png")
    cv2.imwrite(str(pair.image), np.zeros((10, 20, 3), np.uint8))
    cv2.imwrite(str(pair.mask), np.full((20, 10), 255, np.uint8))
    with pytest.raises(DataError, match=r"mask\.png: 10×20, but its photo is 20×10"):
        read_pair(pair)


@pytest.mark.parametrize(("name", "reason"), [("gone.png", "No such file"), (".", "directory")])
def test_what_cannot_be_read_is_named_with_the_systems_reason(tmp_path, name, reason):
    with pytest.raises(DataError, match=reason) as raised:
        read_frame(tmp_path / name)
    assert os.fspath(tmp_path / name) in str(raised.value)
