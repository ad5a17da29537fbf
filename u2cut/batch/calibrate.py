"""Photos for the calibration of int8, and how far its maps are from fp32's."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2cut.console import logger
from u2cut.engines.base import open_engine
from u2cut.errors import InputError, MissingDependencyError, printable
from u2cut.files.read import read
from u2cut.imaging.decode import decode
from u2cut.imaging.formats import READ
from u2cut.options import InputOptions
from u2cut.saliency import preprocess

# The ranges of the activations hardly change after some dozens of photos; each takes a second.
MOST_PHOTOS = 64


def calibrate(weights: Path, photos: Sequence[Path], size: int) -> tuple[int, float]:
    """Make the int8 form of a network and keep it.

    Args:
        weights: A weight file.
        photos: Files, or folders of them; `MOST_PHOTOS` evenly spaced ones are used.
        size: Side of the network's input in pixels.

    Returns:
        How many photos were used, and the mean absolute difference of their maps from fp32's.

    Raises:
        MissingDependencyError: OpenVINO or NNCF isn't installed.
        InputError: Nothing readable is among the photos.
        OutputError: The cache can't be written to.
        WeightsError: The file holds neither of the two networks.
    """
    try:
        from u2cut.engines import openvino_engine as openvino
    except ImportError as e:
        raise MissingDependencyError("int8", "int8") from e
    inputs = _inputs(photos, size)
    openvino.calibrate(weights, inputs, size=size)
    maps = {
        precision: open_engine(
            weights, engine="openvino", device="cpu", precision=precision, size=size
        ).predict(inputs)
        for precision in ("fp32", "int8")
    }
    return len(inputs), float(np.abs(maps["int8"] - maps["fp32"]).mean())


def _inputs(photos: Sequence[Path], size: int) -> NDArray[np.float32]:
    """Return the network's inputs, (B, 3, size, size); invalid photos are left out."""
    inputs = []
    for file in _chosen(photos):
        try:
            frame = decode(
                read(str(file)),
                max_pixels=InputOptions().max_pixels,
                least_size=(size, size),
            )
        except InputError as e:
            logger.warning("%s is left out: %s", printable(file), e)
            continue
        inputs.append(preprocess(frame.image, size))
    if not inputs:
        raise InputError("no readable photo to calibrate on: name photos, or a folder of them")
    return np.stack(inputs)


def _chosen(photos: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in photos:
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if p.suffix.lower() in READ)
        else:
            files.append(path)
    step = max(1.0, len(files) / MOST_PHOTOS)
    return [files[int(i * step)] for i in range(min(len(files), MOST_PHOTOS))]
