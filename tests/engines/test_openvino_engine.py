import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino")

from u2cut.engines import compiled, openvino_engine
from u2cut.engines.base import open_engine
from u2cut.engines.openvino_engine import OpenVINOEngine, calibrate
from u2cut.engines.openvino_import import openvino as ov
from u2cut.errors import DeviceError, WeightsError


def entries(home: Path, precision: str = "fp32") -> list[Path]:
    return list((home / "engines").glob(f"*-{precision}-*"))


@pytest.mark.parametrize("size", [64, 67])
def test_the_maps_are_those_of_the_published_network(weights, photos, published, size) -> None:
    batch = photos(2, size)
    engine = open_engine(weights, engine="openvino", precision="fp32", size=size)
    maps = engine.predict(batch)
    assert maps.shape == (2, size, size)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, published(batch), atol=1e-4)


def test_bf16_stays_near_fp32(weights, photos, published) -> None:
    try:
        engine = OpenVINOEngine(weights, precision="bf16", size=64)
    except DeviceError:
        pytest.skip("this CPU lacks bf16")
    batch = photos(1, 64)
    maps = engine.predict(batch)
    np.testing.assert_allclose(maps, published(batch), atol=0.1)
    assert not np.allclose(maps, published(batch), atol=1e-6)  # fp32 under another name


def test_a_warm_cache_needs_no_torch(weights, photos, published, tmp_path) -> None:
    batch = photos(1, 64)
    OpenVINOEngine(weights, precision="fp32", size=64)
    np.save(tmp_path / "batch.npy", batch)
    code = (
        "import sys, pathlib, numpy as np\n"
        "from u2cut.engines.base import open_engine\n"
        f"engine = open_engine(pathlib.Path({str(weights)!r}), engine='openvino', precision='fp32',"
        " size=64)\n"
        f"maps = engine.predict(np.load({str(tmp_path / 'batch.npy')!r}))\n"
        f"np.save({str(tmp_path / 'maps.npy')!r}, maps)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "maps.npy"), published(batch), atol=1e-4)


def test_the_converter_is_loaded_when_it_is_called_only() -> None:
    code = (
        "import sys, torch\n"
        "import u2cut.engines.openvino_engine\n"
        "assert 'openvino.tools.ovc' not in sys.modules\n"
        "import openvino\n"
        "model = openvino.convert_model(torch.nn.ReLU(), example_input=torch.zeros(1, 3))\n"
        "print(model.outputs)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "type: f32" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-100] + bytes(100),
        lambda content: b"",
    ],
    ids=["truncated", "zeroed at the end", "empty"],
)
def test_a_damaged_cache_entry_is_made_again(weights, photos, published, home, damage) -> None:
    OpenVINOEngine(weights, precision="fp32", size=64)
    (place,) = (p for p in entries(home) if "-64-" in p.name)
    place.write_bytes(damage(place.read_bytes()))
    batch = photos(1, 64)
    maps = OpenVINOEngine(weights, precision="fp32", size=64).predict(batch)
    np.testing.assert_allclose(maps, published(batch), atol=1e-4)
    assert compiled.read(place) is not None


def test_a_cache_entry_that_openvino_refuses_is_made_again(weights, photos, home) -> None:
    OpenVINOEngine(weights, precision="fp32", size=64)
    (place,) = (p for p in entries(home) if "-64-" in p.name)
    compiled.write(place, b"from another world")
    OpenVINOEngine(weights, precision="fp32", size=64).predict(photos(1, 64))
    again = compiled.read(place)
    assert again is not None
    assert bytes(again.body) != b"from another world"


def test_a_cache_that_cannot_be_written_costs_a_warning(
    weights, photos, tmp_path, monkeypatch, caplog
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("U2CUT_HOME", str(tmp_path / "file"))
    OpenVINOEngine(weights, precision="fp32", size=64).predict(photos(1, 64))
    assert "U2CUT_HOME" in caplog.text


def test_other_weights_get_another_entry(weights, tmp_path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(weights.read_bytes())
    names = {"size": 64, "precision": "fp32", "version": "1"}
    assert compiled.entry(copy, **names) == compiled.entry(weights, **names)
    copy.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert compiled.entry(copy, **names) != compiled.entry(weights, **names)


def test_a_missing_weight_file_is_a_weights_error(tmp_path) -> None:
    with pytest.raises(WeightsError, match="gone"):
        OpenVINOEngine(tmp_path / "gone.safetensors", precision="fp32", size=64)


def test_fp16_on_the_cpu_is_an_error(weights) -> None:
    with pytest.raises(DeviceError, match="fp32 or bf16"):
        open_engine(weights, engine="openvino", precision="fp16")


def test_int8_without_a_calibration_says_how_to_make_one(weights) -> None:
    with pytest.raises(DeviceError, match="u2cut calibrate"):
        open_engine(weights, precision="int8", size=33)


def test_calibration_without_nncf_names_the_extra(weights, photos, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(DeviceError, match=r"u2cut\[int8\]"):
        calibrate(weights, photos(1, 64), size=64)


@pytest.mark.slow  # NNCF: a minute
@pytest.mark.filterwarnings("ignore")  # NNCF's own
def test_int8_runs_from_the_cache_after_a_calibration(weights, photos, published) -> None:
    pytest.importorskip("nncf")
    batch = photos(4, 64)
    calibrate(weights, batch, size=64)
    assert sys.modules["openvino_telemetry"] is None
    engine = open_engine(weights, precision="int8", size=64)
    assert (engine.name, engine.precision) == ("openvino", "int8")
    assert np.abs(engine.predict(batch) - published(batch)).mean() < 0.05


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_processor_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, native: bool, expected: str
) -> None:
    monkeypatch.setattr(openvino_engine, "computes_in_bf16", lambda: native)
    assert openvino_engine._resolve_precision("auto", ov.Core()) == expected
