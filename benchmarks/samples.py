"""What the benchmarks of maps share: the photos and the networks that the command line names."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2

from u2cut.datasets.pairs import Pair, scan
from u2cut.engines.predictor import Predictor
from u2cut.options import NetworkOptions


def predictors_and_pairs(doc: str | None) -> Iterator[tuple[str, Predictor, list[Pair]]]:
    """Read DATA, --model and --step; yield each network with the photos to show it."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--step", type=int, default=1, help="take every so many photos")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    pairs = list(scan([options.data]).pairs)[:: options.step]
    for model in options.model:
        yield model, Predictor(NetworkOptions(model=model)), pairs
