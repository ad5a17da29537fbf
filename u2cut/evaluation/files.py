"""Truths and maps from their files."""

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.errors import DataError, InputError
from u2cut.imaging.composite import eight_bits
from u2cut.imaging.decode import Frame, decode
from u2cut.stdio import printable

_NO_LIMIT: Final = 2**40  # in pixels: test data aren't sent in by strangers


def read_frame(path: Path) -> Frame:
    """Read a photo.

    Raises:
        DataError: It can't be read.
    """
    try:
        return decode(path.read_bytes(), max_pixels=_NO_LIMIT)
    except OSError as e:
        raise DataError(f"{printable(path)}: can't be read ({e.strerror})") from e
    except InputError as e:
        raise DataError(f"{printable(path)}: {e}") from e


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
    """Read a truth, (H, W) uint8.

    Raises:
        DataError: It can't be read, or holds 0 and 1 where 0 to 255 belong.
    """
    truth = read_grey(path)
    if int(truth.max()) == 1:
        raise DataError(f"{printable(path)}: its values are 0 and 1; a mask's go from 0 to 255")
    return truth
