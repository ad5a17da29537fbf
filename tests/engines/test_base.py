import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from u2cut.engines import base
from u2cut.engines.base import open_engine
from u2cut.errors import DeviceError, UsageError

WITHOUT_OPENVINO = importlib.util.find_spec("openvino") is None


def test_the_choice_of_an_engine_imports_no_torch() -> None:
    code = "import sys, u2cut.engines.base; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "tensorrt"},
        {"device": "gpu"},
        {"device": "cuda:x"},
        {"device": "cpu\n"},
        {"precision": "fp64"},
    ],
)
def test_an_unknown_name_is_a_usage_error(weights: Path, options: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"unknown .*: use"):
        open_engine(weights, **options)


def test_openvino_on_a_gpu_is_an_error(weights: Path) -> None:
    with pytest.raises(DeviceError, match="--engine torch"):
        open_engine(weights, engine="openvino", device="cuda")


def test_a_missing_openvino_names_the_extra(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for module in ("openvino_engine", "openvino_import"):
        monkeypatch.delitem(sys.modules, f"u2cut.engines.{module}", raising=False)
    with pytest.raises(DeviceError, match=r"u2cut\[openvino\]"):
        open_engine(weights, engine="openvino")


@pytest.mark.parametrize(
    ("installed", "precision", "expected"),
    [
        (True, "auto", "openvino"),
        (True, "bf16", "openvino"),
        (True, "fp16", "torch"),
        (False, "auto", "torch"),
        (False, "int8", "openvino"),  # whose absence is then the error
    ],
)
def test_the_cpu_gets_openvino_where_it_is_installed(
    monkeypatch: pytest.MonkeyPatch, installed: bool, precision: str, expected: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: installed or None)
    assert base._choose("auto", "cpu", precision)[0] == expected


def test_a_gpu_gets_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "probable_gpu", lambda: "CUDA")
    monkeypatch.setattr(base, "_torch_reaches", lambda gpu: True)
    assert base._choose("auto", "auto", "auto") == ("torch", "CUDA found")


def test_a_gpu_that_torch_cannot_use_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(base, "probable_gpu", lambda: "CUDA")
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.0+cpu")
    base._choose("auto", "auto", "auto")
    assert "can't use it: running on the CPU" in caplog.text


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus_are_not_looked_for(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(Path, "exists", lambda self: True)
    assert base.probable_gpu() == "CUDA"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert base.probable_gpu() is None
