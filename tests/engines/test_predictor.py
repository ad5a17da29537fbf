"""Which engines a predictor opens for the views of a photo; real ones in test_remover.py."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from u2cut.engines import predictor, refiner
from u2cut.engines.predictor import Predictor
from u2cut.options import Matting, NetworkOptions
from u2cut.weights import registry
from u2cut.weights.registry import bundled_path

PHOTO = np.random.default_rng(0).integers(0, 255, (90, 120, 3)).astype(np.uint8)
MAP = np.eye(64, dtype=np.float32)


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


@pytest.mark.parametrize(
    ("model", "second", "views"), [("u2netp", "lite", 4), ("lite", "u2netp", 1)]
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_another_network_is_asked_as_the_first_one_is_run(
    monkeypatch: pytest.MonkeyPatch, model: str, second: str, views: int, precision: str
) -> None:
    opened: list[dict[str, object]] = []

    def open_engine(path: Path, **options: object) -> Engine:
        opened.append({"path": path, **options})
        return Engine(options["size"], "fp32", any_size=True)

    monkeypatch.setattr(predictor, "open_engine", open_engine)
    options = NetworkOptions(
        model=model, offline=True, size=640, precision=precision, device="cuda:1", engine="torch"
    )
    network = Predictor(options)
    assert len(network.opinions(PHOTO)) == views
    assert {view.shape[0] for view in network.opinions(PHOTO)} <= {320, 256, 224}
    (asked,) = [engine for engine in opened if second in str(engine["path"])]  # and only once
    assert asked["device"] == "cuda:1"
    assert asked["engine"] == "torch"
    assert asked["precision"] == ("fp32" if precision == "fp32" else "auto")  # it isn't calibrated
    assert asked["size"] == 320


@pytest.mark.parametrize(
    ("model", "method", "expected"),
    [
        (
            "u2netp",
            Matting.BEST,
            [(name, size) for name in ("u2netp", "lite") for size in (320, 256, 224)]
            + [("refiner", 320)],
        ),
        (
            "lite",
            Matting.BEST,
            [("lite", 320), ("lite", 256), ("lite", 224), ("u2netp", 320), ("refiner", 320)],
        ),
        ("u2netp", Matting.FAST, [("u2netp", 320), ("refiner", 320)]),
        ("u2netp", Matting.NONE, [("u2netp", 320)]),
    ],
)
def test_what_a_method_needs_is_opened_before_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, model: str, method: Matting, expected: list[tuple[str, int]]
) -> None:
    opened: list[tuple[str, int]] = []

    def open_engine(path: Path, *, size: int, **_: object) -> Engine:
        opened.append((path.stem, size))
        return Engine(size, "fp32", any_size=False)

    for module in (predictor, refiner):
        monkeypatch.setattr(module, "open_engine", open_engine)
    network = Predictor(NetworkOptions(model=model, offline=True), method=method)
    deadline = time.monotonic() + 20
    while len(opened) < len(expected) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(opened) == sorted(expected)
    if method is Matting.BEST:
        network.views(PHOTO)
        network.opinions(PHOTO)
    if method is not Matting.NONE:
        network.refine(PHOTO, MAP, [MAP])
    assert len(opened) == len(expected)  # and never again


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_refiner_runs_where_and_how_the_network_does(
    monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    opened: list[dict[str, object]] = []

    def open_engine(path: Path, **options: object) -> Engine:
        opened.append({"path": path, **options})
        return Engine(320, "fp32", any_size=True)

    for module in (predictor, refiner):
        monkeypatch.setattr(module, "open_engine", open_engine)
    options = NetworkOptions(
        model="u2netp", offline=True, size=640, precision=precision, device="cuda:1", engine="torch"
    )
    network = Predictor(options)
    for _ in range(2):
        refined = network.refine(PHOTO, MAP, [MAP])
        assert refined is not None
        assert refined.shape == (320, 320)
    (one,) = [engine for engine in opened if engine["path"] == bundled_path("refiner")]
    assert one["device"] == "cuda:1"
    assert one["engine"] == "torch"
    assert one["precision"] == ("fp32" if precision == "fp32" else "auto")  # it isn't calibrated
    assert (one["size"], one["channels"]) == (320, 6)


def test_the_refiner_waits_for_its_network_and_the_other_way_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two at a time take turns on the same cores, half as fast."""
    running, most = 0, 0

    class Busy(Engine):
        def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            time.sleep(0.05)
            running -= 1
            return super().predict(batch)

    for module in (predictor, refiner):
        monkeypatch.setattr(
            module, "open_engine", lambda *_, **__: Busy(320, "fp32", any_size=True)
        )
    network = Predictor(NetworkOptions(model="u2netp", offline=True), method=Matting.FAST)
    threads = [
        threading.Thread(target=call)
        for call in [lambda: network.fused_map(PHOTO), lambda: network.refine(PHOTO, MAP, [MAP])]
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_networks_are_asked_that_look_for_the_same_things() -> None:
    asked = {
        spec.name: (spec.second, spec.judged, spec.refined) for spec in registry.KNOWN.values()
    }
    assert asked == {
        "u2net": ("lite", True, True),
        "u2netp": ("lite", True, True),
        "lite": ("u2netp", False, True),
        "u2net_human_seg": (None, False, False),
    }


def test_nobody_is_asked_about_the_users_own_network_nor_corrects_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(bundled_path("u2netp").read_bytes())
    opener = Opener(any_size=True)
    monkeypatch.setattr(predictor, "open_engine", opener)
    network = Predictor(NetworkOptions(weights=own), method=Matting.BEST)
    assert network.engine is opener.opened[0]
    assert network.opinions(PHOTO) == []
    assert network.refine(PHOTO, MAP, [MAP]) is None
    assert not network.judged
    assert len(opener.opened) == 1


def test_int8_is_calibrated_for_one_size_and_keeps_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    views, opener = predict_views(monkeypatch, 320, "int8", any_size=False)
    assert [view.shape for view in views] == [(320, 320)]
    assert len(opener.opened) == 1


class _Sized:
    def __init__(self, size: int) -> None:
        self.size = size
