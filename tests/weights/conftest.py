"""An empty cache, and a toy that stands for weights."""

import hashlib
from pathlib import Path

import pytest

from u2cut.weights import registry
from u2cut.weights.registry import Form, WeightSpec

CONTENT = b"toy weights " * 100


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which weights lie; not made yet."""
    monkeypatch.setenv("U2CUT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("U2CUT_OFFLINE", raising=False)
    return tmp_path / "home" / "weights"


@pytest.fixture
def content() -> bytes:
    return CONTENT


@pytest.fixture
def toy(home: Path, monkeypatch: pytest.MonkeyPatch) -> WeightSpec:
    """Weights called "toy", which the registry knows and nobody serves."""
    digest = hashlib.sha256(CONTENT).hexdigest()
    urls = ("https://example.invalid/toy.pth",)
    form = Form("toy", "pth", len(CONTENT), digest, urls)
    spec = WeightSpec("toy", "a toy", (form,), "CC0-1.0", 320, "this test")
    monkeypatch.setitem(registry.KNOWN, "toy", spec)
    return spec
