import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from u2cut.cli.app import run
from u2cut.engines.torch_engine import FusedNetwork
from u2cut.errors import ExitCode
from u2cut.export import export as exporting
from u2cut.weights import find
from u2cut.weights.load import load_network

EXAMPLES = Path(__file__).parents[2] / "examples"
BUNDLED = ("--model", "u2netp", "--quiet")


def exported(target: Path, *options: str, code: int = ExitCode.OK) -> Path:
    assert run(["export", *BUNDLED, "-o", str(target), *options]) == code
    return target


def published(photos: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        network = load_network(find("u2netp").path)
        return network(torch.from_numpy(photos))[0].sigmoid().numpy()


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory) -> Path:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return exported(tmp_path_factory.mktemp("onnx") / "u2netp.onnx")


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (3, 3, 32, 65)])
def test_onnx_gives_the_published_maps_at_any_size(onnx_file, shape) -> None:
    import onnxruntime

    photos = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    (maps,) = session.run(["map"], {"photo": photos})
    np.testing.assert_allclose(maps, published(photos), atol=1e-4)


def test_onnx_runs_as_rembgs_custom_model(onnx_file) -> None:
    # What rembg.sessions.u2net does with --model u2net_custom.
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    photo = np.asarray(Image.open(EXAMPLES / "cat.jpg").convert("RGB").resize((320, 320)))
    scaled = photo / max(np.max(photo), 1e-6)
    normal = (scaled - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    batch = np.expand_dims(normal.transpose((2, 0, 1)), 0).astype(np.float32)
    outputs = session.run(None, {session.get_inputs()[0].name: batch})
    prediction = outputs[0][:, 0, :, :]
    assert prediction.shape == (1, 320, 320)
    np.testing.assert_allclose(prediction, published(batch)[:, 0], atol=1e-4)


def test_openvino_gives_the_published_maps_at_any_size(tmp_path) -> None:
    ov = pytest.importorskip("openvino")
    target = exported(tmp_path / "u2netp.xml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["u2netp.bin", "u2netp.xml"]
    network = ov.Core().compile_model(target, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    photos = np.random.default_rng(1).normal(size=(2, 3, 64, 33)).astype(np.float32)
    np.testing.assert_allclose(network(photos)[0], published(photos), atol=1e-4)


def test_safetensors_keep_the_official_tensors(tmp_path, capfd) -> None:
    pth = tmp_path / "official.pth"
    state = load_network(find("u2netp").path).state_dict()
    torch.save(state, pth)
    target = tmp_path / "tensors"
    options = ["--weights", str(pth), "--offline", "--format", "safetensors"]
    assert run(["export", *options, "-o", str(target)]) == ExitCode.OK
    with safe_open(target, "pt") as file:
        assert set(file.keys()) == set(state)
        assert all(torch.equal(file.get_tensor(key), state[key]) for key in state)
    out, err = capfd.readouterr()
    assert out == f"{target}\n"
    assert "differs from torch by" in err


def test_a_network_that_disagrees_with_torch_is_not_written(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(exporting, "_largest_difference", lambda run, network: float("nan"))
    exported(tmp_path / "u2netp.safetensors", code=ExitCode.OUTPUT)
    assert "not written" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_check_sees_a_wrong_map_and_a_nan() -> None:
    network = FusedNetwork(load_network(find("u2netp").path))
    shapes = iter([0.0, np.nan])

    def nearly(photos: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network(torch.from_numpy(photos)).numpy()[:, None] + next(shapes)

    assert np.isnan(exporting._largest_difference(nearly, network))


def test_an_existing_file_is_kept_unless_overwrite_is_said(tmp_path, capfd) -> None:
    target = tmp_path / "u2netp.safetensors"
    target.write_bytes(b"mine")
    exported(target, code=ExitCode.OUTPUT)
    assert "--overwrite" in capfd.readouterr().err
    assert target.read_bytes() == b"mine"
    exported(target, "--overwrite")
    assert target.stat().st_size > 4_000_000


def test_the_bin_beside_an_xml_counts_as_an_output(tmp_path) -> None:
    (tmp_path / "u2netp.bin").write_bytes(b"mine")
    exported(tmp_path / "u2netp.xml", code=ExitCode.OUTPUT)
    assert (tmp_path / "u2netp.bin").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ([], "say -o"),
        (["-o", "u2netp.bin"], "say --format"),
        (["-o", "u2netp.onnx", "--format", "openvino"], "ending"),
    ],
)
def test_an_unclear_request_is_a_usage_error(tmp_path, monkeypatch, capfd, arguments, remedy):
    monkeypatch.chdir(tmp_path)
    assert run(["export", *BUNDLED, *arguments]) == ExitCode.USAGE
    assert remedy in capfd.readouterr().err


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    exported(tmp_path / "u2netp.onnx", code=ExitCode.DEVICE)
    assert "u2cut[onnx]" in capfd.readouterr().err


def test_calibrate_without_a_readable_photo_is_an_input_error(tmp_path, capfd) -> None:
    pytest.importorskip("openvino")
    (tmp_path / "a.jpg").write_bytes(b"no photo")
    code = run(["calibrate", *BUNDLED, "--size", "64", str(tmp_path), str(tmp_path / "gone.png")])
    assert code == ExitCode.INPUT
    assert "no readable photo" in capfd.readouterr().err
    assert run(["calibrate", *BUNDLED]) == ExitCode.USAGE


@pytest.mark.slow  # NNCF: a minute
@pytest.mark.filterwarnings("ignore")  # NNCF's own
def test_calibrate_makes_the_int8_network_that_eval_and_remove_use(tmp_path, monkeypatch) -> None:
    pytest.importorskip("nncf")
    monkeypatch.setenv("U2CUT_HOME", str(tmp_path / "home"))
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path)
    command = [sys.executable, "-m", "u2cut"]
    calibrate = [*command, "calibrate", "--model", "u2netp", "--size", "64", str(tmp_path)]
    done = subprocess.run(calibrate, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "calibrated on 1 photos" in done.stderr
    assert "nncf" not in done.stderr.lower()
    assert done.stdout == ""
    mask = [*command, "mask", "--model", "u2netp", "--size", "64", "--precision", "int8", "--json"]
    done = subprocess.run([*mask, str(tmp_path / "cat.jpg")], capture_output=True, text=True)
    assert json.loads(done.stdout)["status"] == "ok"


def test_what_is_no_file_is_never_replaced(tmp_path, capfd) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        target = tmp_path / name
        exported(target, "--format=safetensors", "--overwrite", code=ExitCode.OUTPUT)
        assert f"{target} exists and is no file" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_too_long_a_name_is_an_output_error(tmp_path, capfd) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    exported(tmp_path / f"{'n' * 300}.onnx", code=ExitCode.OUTPUT)
    assert "File name too long" in capfd.readouterr().err


def test_an_export_that_could_only_confuse_is_refused(tmp_path, capfd):
    for words, said in (
        (["-o", "-"], "stdout"),
        (["-o", str(tmp_path / "x.onnx"), "--format", "safetensors"], "--format"),
    ):
        assert run(["export", "--model", "u2netp", *words]) == 2
        assert said in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_export_makes_its_folder(tmp_path):
    target = tmp_path / "a/b/c.safetensors"
    assert run(["export", "--model", "u2netp", "-o", str(target), "-q"]) == 0
    assert target.is_file()


def test_an_onnx_file_says_how_its_input_is_made(tmp_path) -> None:
    exported(tmp_path / "u2netp.onnx")
    said = {p.key: p.value for p in onnx.load(tmp_path / "u2netp.onnx").metadata_props}
    assert (said["mean"], said["std"], said["size"]) == (
        "0.485,0.456,0.406",
        "0.229,0.224,0.225",
        "320",
    )
