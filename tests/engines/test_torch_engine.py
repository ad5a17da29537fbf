from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from u2cut.engines import torch_engine as engine_module
from u2cut.engines.base import open_engine
from u2cut.engines.torch_engine import FusedNetwork, TorchEngine
from u2cut.errors import DeviceError


def on_cpu(weights: Path, precision: str = "fp32") -> TorchEngine:
    return TorchEngine(weights, device="cpu", precision=precision, size=64)


@pytest.mark.parametrize("size", [64, 67])
def test_the_maps_are_those_of_the_published_network(weights, photos, published, size) -> None:
    batch = photos(2, size)
    maps = on_cpu(weights).predict(batch)
    assert maps.shape == (2, size, size)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, published(batch), atol=1e-4)


def test_bf16_on_the_cpu_stays_near_fp32(weights, photos, published) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU lacks bf16")
    batch = photos(1, 64)
    engine = on_cpu(weights, "bf16")
    assert engine.precision == "bf16"
    np.testing.assert_allclose(engine.predict(batch), published(batch), atol=0.1)


def test_an_overflow_goes_on_in_fp32_and_says_so(
    weights, photos, published, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU lacks bf16")
    # bf16 itself doesn't overflow; fp16, which does, needs a GPU.
    forward = FusedNetwork.forward

    def overflowing(self: FusedNetwork, x: torch.Tensor) -> torch.Tensor:
        return forward(self, x * 3e38 * 3e38 if x.dtype == torch.bfloat16 else x)

    monkeypatch.setattr(FusedNetwork, "forward", overflowing)
    batch = photos(1, 64)
    engine = on_cpu(weights, "bf16")
    maps = engine.predict(batch)
    assert engine.precision == "fp32"
    assert "overflows" in caplog.text
    np.testing.assert_allclose(maps, published(batch), atol=1e-4)


def test_short_memory_halves_the_batch_and_loses_no_photo(
    weights, photos, published, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    engine = on_cpu(weights)
    engine.batch_size = 5
    run = engine._run

    def scarce(batch: np.ndarray) -> np.ndarray:
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return run(batch)

    monkeypatch.setattr(engine, "_run", scarce)
    batch = photos(5, 64)
    np.testing.assert_allclose(engine.predict(batch), published(batch), atol=1e-4)
    assert engine.batch_size == 2
    assert "2 photos at a time" in caplog.text


def test_too_little_memory_for_one_photo_is_a_device_error(
    weights, photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = on_cpu(weights)

    def scarce(batch: np.ndarray) -> np.ndarray:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(engine, "_run", scarce)
    with pytest.raises(DeviceError, match="--size"):
        engine.predict(photos(1, 64))


def test_calls_may_overlap(weights, photos, published) -> None:
    engine = on_cpu(weights)
    batches = [photos(2, 64) + i for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        for batch, found in zip(batches, pool.map(engine.predict, batches), strict=True):
            np.testing.assert_allclose(found, published(batch), atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:all"])
def test_a_missing_gpu_is_an_error_not_a_silent_cpu(weights, device) -> None:
    with pytest.raises(DeviceError, match="no usable GPU"):
        open_engine(weights, device=device)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an Apple GPU")
def test_a_missing_apple_gpu_is_an_error(weights) -> None:
    with pytest.raises(DeviceError, match="Apple GPU"):
        open_engine(weights, device="mps")


@pytest.mark.parametrize(("precision", "remedy"), [("fp16", "fp32 or bf16"), ("int8", "openvino")])
def test_a_precision_that_torch_lacks_on_the_cpu_is_an_error(weights, precision, remedy) -> None:
    with pytest.raises(DeviceError, match=remedy):
        on_cpu(weights, precision)


def test_bf16_without_the_hardware_is_an_error(weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "_has_bf16", lambda kind: False)
    with pytest.raises(DeviceError, match="--precision fp32"):
        on_cpu(weights, "bf16")


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_processor_computes_in_it(
    weights, monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(engine_module, "computes_in_bf16", lambda: native)
    assert on_cpu(weights, "auto").precision == expected


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-3), ("bf16", 0.1), ("fp16", 0.1)])
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:all"])
def test_the_gpu_agrees_with_the_published_network(
    weights, photos, published, device, precision, tolerance
) -> None:
    batch = photos(5, 64)
    engine = open_engine(weights, device=device, precision=precision, size=64)
    assert engine.device.startswith("cuda:")
    np.testing.assert_allclose(engine.predict(batch), published(batch), atol=tolerance)


@pytest.mark.gpu
def test_a_gpu_that_is_not_there_is_an_error(weights) -> None:
    with pytest.raises(DeviceError, match="cuda:0 to"):
        open_engine(weights, device="cuda:99")
