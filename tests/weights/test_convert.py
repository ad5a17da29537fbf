"""ONNX files are converted once into the cache, whole or not at all."""

import os
import subprocess
import sys
import time

import pytest

from tests.onnx_files import write_onnx
from u2cut.errors import WeightsError
from u2cut.model import U2NETP
from u2cut.weights import bring_in, bring_in_folder, cache, convert, find, local, notes, registry
from u2cut.weights.load import load_network
from u2cut.weights.registry import Form, WeightSpec


@pytest.fixture
def source(tmp_path, home):
    network = load_network(registry.bundled_path("u2netp"))
    state = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    return write_onnx(state, U2NETP, tmp_path / "mine.onnx")


@pytest.fixture
def known(source, monkeypatch):
    """Make the registry know the file, as "toy"."""
    form = Form("toy", "onnx", source.stat().st_size, notes.hash_file(source))
    spec = WeightSpec("toy", "a toy", (form,), "CC0-1.0", 320, "this test")
    monkeypatch.setitem(registry.KNOWN, "toy", spec)
    return form


def kept(home):
    return sorted(p.name for p in home.iterdir() if not p.name.startswith("."))


def test_a_file_is_converted_once(source, home):
    found = local(source)
    digest = notes.hash_file(source)
    assert (found.name, found.input_size) == ("mine.onnx", 320)
    assert found.path == home / f"{digest}.safetensors"
    assert kept(home) == [f"{digest}.safetensors", f"{digest}.safetensors.verified"]
    before = found.path.stat()
    assert local(source) == found
    assert found.path.stat() == before
    assert load_network(found.path).variant is U2NETP


def test_a_changed_file_is_converted_anew(source, home):
    first = local(source).path
    content = bytearray(source.read_bytes())
    content[-1000] ^= 1  # somewhere in the tensors
    source.write_bytes(content)
    assert local(source).path != first


@pytest.mark.parametrize("fault", ["damaged", "no note"])
def test_a_damaged_copy_is_made_again(fault, source):
    path = local(source).path
    whole = path.read_bytes()
    if fault == "damaged":
        path.write_bytes(whole[:-1] + b"?")
    else:
        path.with_name(f"{path.name}.verified").unlink()
        path.write_bytes(b"half")
    assert local(source).path.read_bytes() == whole


def test_a_cache_that_takes_no_file_costs_time_only(source, home, caplog):
    home.parent.write_text("a file where the folder belongs")
    assert local(source).path == source
    assert f"converted anew each time: {home}: can't be written to" in caplog.text


CHILD = """
import sys
from pathlib import Path
from u2cut.console import configure_logging
from u2cut.weights import local
configure_logging()
print(local(Path(sys.argv[1])).path)
"""


def child(source, before=""):
    command = [sys.executable, "-c", before + CHILD, str(source)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ.copy()
    )


def test_a_disk_that_fills_during_the_conversion_leaves_nothing(source, home):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
    out, err = child(source, limit).communicate(timeout=60)
    assert out.strip() == str(source)
    assert "converted anew each time" in err
    assert "File too large" in err
    assert kept(home) == []


def test_processes_at_once_convert_once(source, home):
    for one in [child(source) for _ in range(3)]:
        out, err = one.communicate(timeout=60)
        assert (one.returncode, out.strip()) == (0, str(local(source).path)), err
    assert len(kept(home)) == 2


def test_what_a_killed_conversion_left_is_cleared_away(source, home):
    home.mkdir(parents=True)
    (home / f".{'0' * 16}.u2cut-part").write_bytes(b"x" * 10_000_000)
    assert load_network(local(source).path).variant is U2NETP
    assert len(kept(home)) == 2
    assert not list(home.glob(".*.u2cut-part"))


def test_another_network_is_refused_and_leaves_nothing(source, home):
    source.write_bytes(source.read_bytes()[:-2_000_000])
    with pytest.raises(WeightsError, match=r"mine\.onnx: "):
        local(source)
    assert kept(home) == []


def test_a_known_file_is_imported_under_its_name(known, source, home):
    brought = bring_in(source)
    assert (brought.name, brought.path) == ("toy", cache.path_of(known))
    assert find("toy", offline=True).path == brought.path
    note = notes.read_note(brought.path)
    assert note is not None
    assert note.origin == f"imported from {source}"
    assert cache.fault(known, full=True) is None


def test_the_import_of_an_unknown_network_is_a_file_of_the_cache(source, home):
    brought = bring_in(source)
    assert brought.name == "mine.onnx"
    assert brought.path.parent == home


def test_a_folder_gives_what_is_known_and_the_reasons_for_the_rest(known, source, tmp_path, home):
    folder = tmp_path / "folder"
    folder.mkdir()
    source.rename(folder / "renamed.bin")
    (folder / "readme.txt").write_text("hello")
    (folder / "same length").write_bytes(bytes(known.size))
    (folder / "sub").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    taken, left = bring_in_folder(folder, "toy")
    assert [w.name for w in taken] == ["toy"]
    reasons = {path.name: reason for path, reason in left.items()}
    assert reasons["readme.txt"] == "not the length of any known file"
    assert "its SHA-256 is" in reasons["same length"]
    assert "not a file" in reasons["sub"]
    assert "levels of symbolic links" in reasons["loop"]
    assert (folder / "renamed.bin").exists()


def test_removing_takes_the_converted_copy(known, source, home):
    bring_in(source)
    assert len(cache.remove(registry.spec("toy"))) == 2
    assert kept(home) == []


def test_a_file_that_another_process_is_converting_is_waited_for(source, home):
    digest = notes.hash_file(source)
    with cache.lock(digest):
        waiting = child(source)
        time.sleep(1)
        assert not cache.converted_path(digest).exists()
    out, err = waiting.communicate(timeout=60)
    assert out.strip() == str(convert.converted(source)), err
