"""Photos, masks and maps from their files, read alike for training and for evaluation."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.datasets.pairs import Pair
from u2cut.errors import DataError, InputError
from u2cut.imaging.composite import eight_bits
from u2cut.imaging.decode import Frame, decode

SUBJECT_ABOVE: Final = 127  # a mask's greater levels are the subject

_NO_LIMIT: Final = 2**40  # in pixels: data sets aren't sent in by strangers


def read_frame(path: Path) -> Frame:
    """Read a picture.

    Raises:
        DataError: It can't be read.
    """
    try:
        return decode(path.read_bytes(), max_pixels=_NO_LIMIT)
    except OSError as e:
        raise DataError.from_os(e, path, "can't be read") from e
    except InputError as e:
        raise DataError(str(e), path=path) from e


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read a mask, a map or a cutout: its alpha channel, unless it is opaque; else its grey.

    Returns:
        (H, W) uint8.

    Raises:
        DataError: It can't be read.
    """
    frame = read_frame(path)
    if frame.alpha is not None:
        return eight_bits(frame.alpha)
    return np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), np.uint8)


def read_truth(path: Path) -> NDArray[np.uint8]:
    """Read a mask that others are measured by, (H, W) uint8.

    Raises:
        DataError: It can't be read, or holds 0 and 1 where 0 to 255 belong.
    """
    truth = read_grey(path)
    if int(truth.max()) == 1:
        raise DataError("its values are 0 and 1", path=path, remedy="a mask's go from 0 to 255")
    return truth


def read_pair(pair: Pair) -> tuple[Frame, NDArray[np.uint8]]:
    """Read a photo and its mask, (H, W) uint8 of the photo's size.

    Raises:
        DataError: One of them can't be read, or they don't fit together.
    """
    frame, truth = read_frame(pair.image), read_truth(pair.mask)
    if frame.image.shape[:2] != truth.shape:
        (height, width), (h, w) = truth.shape, frame.image.shape[:2]
        raise DataError(f"{width}×{height}, but its photo is {w}×{h}", path=pair.mask)
    return frame, truth
