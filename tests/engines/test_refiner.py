"""What the refiner is shown, and what it makes of the answer."""

from pathlib import Path
from threading import Semaphore

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.pictures import disc_photo
from tests.toy_network import disc_map
from u2cut import saliency
from u2cut.engines import refiner
from u2cut.engines.refiner import KEPT, SIZE, Refiner
from u2cut.errors import WeightsError
from u2cut.model import REFINER, U2NETP
from u2cut.options import NetworkOptions
from u2cut.weights.load import load_network
from u2cut.weights.registry import bundled_path

Map = NDArray[np.float32]
CPU = {"offline": True, "device": "cpu", "precision": "fp32"}
CORNER = np.s_[:30, 290:]


class Engine:
    """Gives one answer everywhere, and keeps what it was shown."""

    def __init__(self, answer: float) -> None:
        self.answer, self.shown = answer, np.empty((0, 0, 0, 0), np.float32)

    def predict(self, batch: NDArray[np.float32]) -> Map:
        self.shown = batch
        return np.full((len(batch), *batch.shape[2:]), self.answer, np.float32)


def with_answer(monkeypatch: pytest.MonkeyPatch, answer: float) -> tuple[Refiner, Engine]:
    engine = Engine(answer)
    monkeypatch.setattr(refiner, "open_engine", lambda *_, **__: engine)
    return Refiner(NetworkOptions(), Semaphore()), engine


def test_it_sees_the_photo_the_usual_map_the_chosen_one_and_their_mean(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network, engine = with_answer(monkeypatch, 0.5)
    first, second, third = disc_map(320), disc_map(256)[:, ::-1], np.zeros((64, 64), np.float32)
    network.refine(disc_photo(), second, [first, second, third])
    assert engine.shown.shape == (1, 6, SIZE, SIZE)
    assert np.array_equal(engine.shown[0, :3], saliency.preprocess(disc_photo(), SIZE))
    grown = cv2.resize(second, (SIZE, SIZE))
    for channel, expected in zip(
        engine.shown[0, 3:], (first, grown, (first + grown) / 3), strict=True
    ):
        np.testing.assert_allclose(channel, 2 * expected - 1, atol=1e-5)


@pytest.mark.parametrize("answer", [0.0, 0.2, 0.5, 1.0])
def test_its_answer_is_added_to_what_the_maps_say(
    monkeypatch: pytest.MonkeyPatch, answer: float
) -> None:
    network, _ = with_answer(monkeypatch, answer)
    chosen, other = np.ones((8, 8), np.float32), np.zeros((8, 8), np.float32)
    refined = network.refine(disc_photo(), chosen, [other, chosen])
    assert refined.shape == (SIZE, SIZE)
    odds = refined / (1 - refined)
    if answer in (0.0, 1.0):  # a precision of few digits has these
        assert np.isfinite(odds).all()
        assert (refined > 0.5).all() == bool(answer)
    else:
        np.testing.assert_allclose(odds, answer / (1 - answer) * np.exp(KEPT / 2), rtol=1e-4)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_the_bundled_one_removes_what_the_photo_speaks_against(engine: str) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    network = Refiner(NetworkOptions(engine=engine, **CPU), Semaphore())
    cat = np.asarray(Image.open(Path(__file__).parents[2] / "examples/cat.jpg"))
    usual = usual_map(cat)
    refined = network.refine(cat, usual, [usual])
    both = np.count_nonzero((refined > 0.5) & (usual > 0.5))
    assert both / np.count_nonzero((refined > 0.5) | (usual > 0.5)) > 0.7
    speck = usual.copy()
    speck[CORNER] = 1
    assert usual[CORNER].max() < 0.5  # it isn't the cat
    corrected = network.refine(cat, speck, [speck])
    assert (corrected[CORNER] > 0.5).mean() < 0.5


def usual_map(photo: NDArray[np.uint8]) -> Map:
    with torch.inference_mode():
        batch = torch.from_numpy(saliency.preprocess(photo, SIZE))[None]
        fused = load_network(bundled_path("u2netp"))(batch)[0].sigmoid()[0, 0].numpy()
    return saliency.normalise(fused)


def test_both_engines_agree() -> None:
    pytest.importorskip("openvino")
    photo, map_ = disc_photo(), disc_map()
    exact = Refiner(NetworkOptions(engine="torch", **CPU), Semaphore()).refine(photo, map_, [map_])
    other = Refiner(NetworkOptions(engine="openvino", **CPU), Semaphore()).refine(
        photo, map_, [map_]
    )
    np.testing.assert_allclose(other, exact, atol=1e-3)


def test_its_file_is_taken_for_no_network_of_photos_and_the_other_way_round() -> None:
    assert load_network(bundled_path("refiner"), channels=6).variant is REFINER
    with pytest.raises(WeightsError, match="not the weights of U²-Net"):
        load_network(bundled_path("refiner"))
    with pytest.raises(WeightsError, match=r"\(64, 3, 3, 3\) where \(64, 6, 3, 3\) belongs"):
        load_network(bundled_path("u2netp"), channels=REFINER.channels)
    assert REFINER.decoder == U2NETP.decoder


def test_8_bits_are_read_with_their_scales(tmp_path: Path) -> None:
    key, path = "stage3.rebnconv1.conv_s1.weight", tmp_path / "refiner.safetensors"
    state = load_file(bundled_path("refiner"))
    layer = load_network(bundled_path("refiner"), channels=6).get_parameter(key)
    assert torch.equal(layer, state[key].float() * state[key + ".scale"])
    for scale in (None, torch.ones(3), torch.full_like(state[key + ".scale"], torch.inf)):
        changed = {**state, key + ".scale": scale}
        save_file({name: tensor for name, tensor in changed.items() if tensor is not None}, path)
        with pytest.raises(WeightsError, match=r"int8|infinity"):
            load_network(path, channels=6)
