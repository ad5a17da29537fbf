"""What rembg and backgroundremover fetched is used, by its SHA-256 alone, and never touched."""

import logging
import os

import pytest

from tests.onnx_files import write_onnx
from u2cut.console import NOTICE
from u2cut.errors import WeightsError
from u2cut.model import U2NETP
from u2cut.weights import cache, find, registry
from u2cut.weights.load import load_network
from u2cut.weights.registry import Form, WeightSpec


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    network = load_network(registry.bundled_path("u2netp"))
    state = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    return write_onnx(state, U2NETP, tmp_path_factory.mktemp("onnx") / "x.onnx").read_bytes()


@pytest.fixture
def known(home, onnx, content, tmp_path, monkeypatch):
    """A network "u2net" whose files this test has."""
    import hashlib

    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("U2CUT_OFFLINE", "1")
    forms = tuple(
        Form("u2net", format, len(data), hashlib.sha256(data).hexdigest())
        for format, data in (("pth", content), ("onnx", onnx))
    )
    spec = WeightSpec("u2net", "a toy", forms, "CC0-1.0", 320, "this test")
    monkeypatch.setitem(registry.KNOWN, "u2net", spec)
    return spec


def put(folder, name, data):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return folder / name


@pytest.mark.parametrize(
    ("variable", "folder"),
    [
        ("U2NET_HOME", "models"),
        ("REMBG_HOME", "models"),
        ("XDG_DATA_HOME", "models/.u2net"),
        (None, "user/.u2net"),
    ],
)
def test_each_of_their_folders_is_looked_into(
    variable, folder, known, content, tmp_path, monkeypatch
):
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "models"))
    theirs = put(tmp_path / folder, "u2net.pth", content)
    assert find("u2net").path == theirs


def test_the_folders_are_asked_in_their_order(known, content, tmp_path, monkeypatch):
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "first"))
    monkeypatch.setenv("REMBG_HOME", str(tmp_path / "second"))
    put(tmp_path / "user/.u2net", "u2net.pth", content)
    for folder in ("second", "first"):
        theirs = put(tmp_path / folder, "u2net.pth", content)
        assert find("u2net").path == theirs


def test_a_file_that_backgroundremover_was_told_of_is_used(known, content, tmp_path, monkeypatch):
    theirs = put(tmp_path, "elsewhere.pth", content)
    monkeypatch.setenv("U2NET_PATH", str(theirs))
    assert find("u2net").path == theirs


def test_onnx_is_converted_and_one_line_says_whose_file_it_is(known, onnx, tmp_path, caplog):
    theirs = put(tmp_path / "user/.u2net", "u2net.onnx", onnx)
    caplog.set_level(NOTICE, "u2cut")
    found = find("auto")
    assert (found.name, found.path) == ("u2net", cache.path_of(known.forms[1]))
    assert [r.message for r in caplog.records] == [f"using u2net of another tool: {theirs}"]
    assert theirs.read_bytes() == onnx
    assert load_network(found.path).variant is U2NETP
    theirs.unlink()
    assert find("u2net") == found, "our copy serves from now on"


def test_our_own_file_comes_first(known, content, home, tmp_path, caplog):
    put(tmp_path / "user/.u2net", "u2net.pth", content)
    ours = put(home, "u2net.pth", content)
    assert find("u2net").path == ours
    assert not caplog.records


def empty(path):
    path.write_bytes(b"")


def page(path):
    path.write_bytes(b"<!DOCTYPE html><html>Log in</html>")


def same_length(path):
    path.write_bytes(bytes(path.stat().st_size))


def loop(path):
    path.unlink()
    path.symlink_to(path)


def dangling(path):
    path.unlink()
    path.symlink_to(path.with_name("nothing"))


def directory(path):
    path.unlink()
    path.mkdir()


def unreadable(path):
    path.chmod(0)


def unchanged(path):
    """What a change of a file would change; when it was last read is not part of it."""
    status = path.lstat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (empty, "it has 0 bytes"),
        (page, "it has 34 bytes"),
        (same_length, "its SHA-256 is"),
        (loop, "levels of symbolic links"),
        (dangling, None),
        (directory, "not a file"),
        pytest.param(
            unreadable,
            "Permission denied",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything"),
        ),
    ],
)
@pytest.mark.parametrize("name", ["u2net.pth", "u2net.onnx"])
def test_a_wrong_file_is_passed_over_with_a_reason(
    spoil, reason, name, known, content, onnx, tmp_path, caplog
):
    theirs = put(tmp_path / "user/.u2net", name, content if name.endswith("pth") else onnx)
    spoil(theirs)
    before = sorted(p.name for p in theirs.parent.iterdir()), unchanged(theirs)
    caplog.set_level(logging.INFO, "u2cut")
    with pytest.raises(WeightsError, match="u2cut is offline"):
        find("u2net")
    passed = [r.message for r in caplog.records if "is passed over" in r.message]
    if reason is None:
        assert passed == []
    else:
        assert len(passed) == 1
        assert reason in passed[0]
    assert (sorted(p.name for p in theirs.parent.iterdir()), unchanged(theirs)) == before


def test_a_folder_that_is_no_folder_is_passed_over(known, tmp_path):
    put(tmp_path / "user", ".u2net", b"a file")
    with pytest.raises(WeightsError, match="u2cut is offline"):
        find("u2net")


def test_their_file_is_hashed_once(known, content, tmp_path, monkeypatch):
    theirs = put(tmp_path / "user/.u2net", "u2net.pth", content)
    assert find("u2net").path == theirs
    status = theirs.stat()
    theirs.write_bytes(bytes(len(content)))
    os.utime(theirs, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert find("u2net").path == theirs, "known by its size and time, as in the cache"
    os.utime(theirs, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(WeightsError, match="u2cut is offline"):
        find("u2net")


def test_list_path_and_verify_agree_on_it(known, content, tmp_path, capfd):
    import json

    from u2cut.cli.app import run

    theirs = put(tmp_path / "user/.u2net", "u2net.pth", content)
    assert run(["weights", "list", "--json"]) == 0
    entry = next(e for e in json.loads(capfd.readouterr().out) if e["name"] == "u2net")
    assert (entry["state"], entry["path"]) == ("here", str(theirs))
    assert entry["origin"] == "another tool's"
    assert run(["weights", "path", "u2net"]) == 0
    assert capfd.readouterr().out == f"{theirs}\n"
    assert run(["weights", "verify", "u2net"]) == 0
    assert capfd.readouterr().out == "u2net ok\n"
    assert run(["weights", "remove", "u2net"]) == 0
    assert theirs.exists()


def test_the_command_line_cuts_with_it_and_says_so(known, onnx, disc, tmp_path, capfd):
    from u2cut.cli.app import run

    theirs = put(tmp_path / "user/.u2net", "u2net.onnx", onnx)
    options = ["--size", "64", "--engine", "torch", "-o", str(tmp_path / "cut.png")]
    assert run(["remove", str(disc), *options]) == 0
    assert f"u2cut: using u2net of another tool: {theirs}" in capfd.readouterr().err
    assert (tmp_path / "cut.png").exists()
