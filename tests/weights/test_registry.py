"""What u2cut knows of weights by name is complete and true."""

import re
import subprocess
import sys

import pytest

from u2cut.errors import WeightsError
from u2cut.weights import notes, registry


def test_the_names_are_the_official_ones():
    assert registry.names() == ("u2net", "u2netp", "lite", "u2net_human_seg")


@pytest.mark.parametrize("name", registry.names())
def test_every_entry_is_complete(name):
    spec = registry.spec(name)
    assert spec.name == name
    assert spec.licence == "Apache-2.0"
    assert 32 <= spec.input_size <= 1024
    assert spec.description
    assert spec.source
    assert [form.format for form in spec.forms] == ([] if name == "lite" else ["pth", "onnx"])
    for form in spec.forms:
        assert form.network == name
        assert re.fullmatch(r"[0-9a-f]{64}", form.sha256)
        assert form.urls
        assert form.wheel is None or form.wheel.member.endswith(f"/{form.filename}")


@pytest.mark.parametrize("name", ["u2net", "u2netp", "u2net_human_seg"])
def test_google_drive_is_asked_last(name):
    urls = registry.spec(name).forms[0].urls
    assert [("drive." in url) for url in urls] == [False] * (len(urls) - 1) + [True]


@pytest.mark.parametrize("name", [*registry.BUNDLED, registry.REFINER])
def test_the_bundled_weights_are_small_and_match_their_recorded_hash(name):
    path = registry.bundled_path(name)
    fault = notes.mismatch(path, None, registry.bundled_sha256(name))
    remedy = f"cd {path.parent} && sha256sum {path.name} > {path.name}.sha256"
    assert fault is None, f"new weights? then: {remedy}"
    assert path.stat().st_size <= 5_000_000


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(WeightsError, match=r"'u3net\\n'; known: u2net, .*u2netp.*--weights FILE"):
        registry.spec("u3net\n")


def test_knowing_weights_imports_nothing_heavy():
    program = (
        "import sys, u2cut.weights; u2cut.weights.find('u2netp');"
        "print([m for m in ('torch', 'numpy', 'requests', 'PIL') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout == "[]\n", run.stderr
