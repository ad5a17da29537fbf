"""Which engines a predictor opens for the views of a photo; real ones in test_remover.py."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from u2cut.engines import predictor
from u2cut.engines.predictor import Predictor
from u2cut.options import NetworkOptions

PHOTO = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)


class Engine:
    """Returns the red channel of what it is shown."""

    name, device, batch_size, at_once = "toy", "cpu", 1, 1

    def __init__(self, size: int, precision: str, *, any_size: bool) -> None:
        self.size, self.precision, self.any_size = size, precision, any_size
        self.sides: list[int] = []

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.any_size or batch.shape[-1] == self.size
        self.sides.append(batch.shape[-1])
        return batch[:, 0].copy()


class Opener:
    """Stands in for ``open_engine``, and keeps what it opened."""

    def __init__(self, *, any_size: bool) -> None:
        self.any_size, self.opened = any_size, []

    def __call__(self, path: Path, *, precision: str, size: int, **_: object) -> Engine:
        self.opened.append(Engine(size, precision, any_size=self.any_size))
        return self.opened[-1]


def predict_views(
    monkeypatch: pytest.MonkeyPatch, size: int, precision: str = "fp32", *, any_size: bool
) -> tuple[list[NDArray[np.float32]], Opener]:
    opener = Opener(any_size=any_size)
    monkeypatch.setattr(predictor, "open_engine", opener)
    network = Predictor(
        NetworkOptions(model="u2netp", offline=True, size=size, precision=precision)
    )
    network.fused_map(PHOTO)
    views = network.views(PHOTO)
    assert [view.shape for view in network.views(PHOTO)] == [view.shape for view in views]
    return views, opener


@pytest.mark.parametrize(
    ("size", "smaller"), [(320, [256, 224]), (288, [224, 192]), (96, [64]), (64, [32]), (32, [])]
)
@pytest.mark.parametrize("any_size", [False, True])
def test_the_smaller_views_are_opened_once_where_they_need_an_engine(
    monkeypatch: pytest.MonkeyPatch, size: int, smaller: list[int], any_size: bool
) -> None:
    views, opener = predict_views(monkeypatch, size, any_size=any_size)
    assert [view.shape for view in views] == [(side, side) for side in [size, *smaller]]
    own = [size] if any_size else [size, *smaller]
    assert [engine.size for engine in opener.opened] == own


@pytest.mark.parametrize(
    ("precision", "size", "side"), [("fp32", 320, 256), ("int8", 320, 320), ("fp32", 32, 32)]
)
def test_the_second_view_is_a_smaller_one_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, precision: str, size: int, side: int
) -> None:
    opener = Opener(any_size=False)
    monkeypatch.setattr(predictor, "open_engine", opener)
    network = Predictor(
        NetworkOptions(model="u2netp", offline=True, size=size, precision=precision)
    )
    assert network.second_view(PHOTO).shape == (side, side)
    assert [engine.size for engine in opener.opened] == list(dict.fromkeys((size, side)))


def test_the_mirrored_view_is_turned_back(monkeypatch: pytest.MonkeyPatch) -> None:
    views, _ = predict_views(monkeypatch, 96, any_size=True)
    assert np.array_equal(views[0], Predictor.preprocess(_Sized(96), PHOTO)[0])


def test_int8_is_calibrated_for_one_size_and_keeps_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    views, opener = predict_views(monkeypatch, 320, "int8", any_size=False)
    assert [view.shape for view in views] == [(320, 320)]
    assert len(opener.opened) == 1


class _Sized:
    def __init__(self, size: int) -> None:
        self.size = size
