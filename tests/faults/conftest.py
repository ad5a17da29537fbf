"""A real HTTP server on loopback, with a switch for every way in which a download goes wrong."""

import contextlib
import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from u2cut.weights.registry import Form, WeightSpec
from u2cut.weights.transfer import Limits

BODY = random.Random(1).randbytes(300_000)
QUICK = Limits(
    connect=1,
    answer=1,
    stall=0.5,
    attempts=3,
    backoff=0.01,
    retry_after=1,
    lock=30,
    host="127.0.0.1",
)
CONFIRM_PAGE = b"""<!DOCTYPE html><html>
<head><title>Google Drive - Virus scan warning</title></head><body>
<p>Google Drive can't scan this file for viruses.</p>
<form id="download-form" action="/drive_file" method="get">
<input type="hidden" name="id" value="a b"><input type="hidden" name="confirm" value="t">
<input type="submit" value="Download anyway"></form></body></html>"""
QUOTA_PAGE = b"""<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head>
<body>Sorry, you can't view or download this file at this time. Too many users have viewed or
downloaded this file recently.</body></html>"""


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path, which names the switch."""

    server: "Server"

    def do_GET(self) -> None:
        switch = self.path.split("?")[0].strip("/").split("/")[-1]
        if switch.startswith("toy."):  # asked for as a mirror is, by the file's name in a folder
            switch = self.path.split("/")[-2]
        self.server.requests.append((self.path, self.headers.get("Range")))
        self.count = sum(path == self.path for path, _ in self.server.requests)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, switch)()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def page(self, text: bytes, status: int = 200, kind: str = "text/html; charset=utf-8") -> None:
        self.head(status, Content_Type=kind, Content_Length=len(text))
        self.wfile.write(text)

    def ranged(self, body: bytes, stop_after: int | None = None) -> None:
        """Serve as a good server does, but for an early end."""
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted:
            part = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.head(206, Content_Range=part, Content_Length=len(body) - start)
        else:
            self.head(200, Content_Length=len(body))
        self.wfile.write(body[start:][:stop_after])

    # Well behaved

    def whole(self) -> None:
        self.ranged(BODY)

    def drive_file(self) -> None:
        if "confirm=t" in self.path and "id=a+b" in self.path:
            self.ranged(BODY)
        else:
            self.page(CONFIRM_PAGE)

    # Connections that break, stall or drip

    def cut(self) -> None:
        self.ranged(BODY, stop_after=100_000)

    def cut_and_never_resumed(self) -> None:
        self.head(200, Content_Length=len(BODY))
        self.wfile.write(BODY[:100_000])

    def cut_then_whole_again(self) -> None:
        self.head(200, Content_Length=len(BODY))
        self.wfile.write(BODY[: 100_000 if self.count == 1 else None])

    def stall(self) -> None:
        self.ranged(BODY, stop_after=131_072)
        self.wfile.flush()
        self.server.over.wait(20)

    def stall_at_once(self) -> None:
        self.head(200, Content_Length=len(BODY))
        self.wfile.write(BODY[:1000])
        self.server.over.wait(20)

    def silent(self) -> None:
        self.server.over.wait(20)

    def drip(self) -> None:
        self.head(200, Content_Length=len(BODY))
        self.drop_by_drop(BODY)

    def dripping_head(self) -> None:
        self.drop_by_drop(b"HTTP/1.1 200 OK\r\nX-Padding: " + b"a" * 1000)

    def drop_by_drop(self, data: bytes) -> None:
        for k in range(len(data)):
            self.wfile.write(data[k : k + 1])
            if self.server.over.wait(0.05):
                return

    # Answers that lie

    def wrong_start(self) -> None:
        if self.headers.get("Range") is None:
            return self.whole()
        self.head(206, Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}")
        self.wfile.write(BODY)

    def wrong_total(self) -> None:
        if self.headers.get("Range") is None:
            return self.whole()
        self.head(206, Content_Range="bytes 100000-999999/1000000")
        self.wfile.write(bytes(900_000))

    def range_unasked(self) -> None:
        self.head(206, Content_Range=f"bytes 7-{len(BODY) - 1}/{len(BODY)}")
        self.wfile.write(BODY[7:])

    def unsatisfiable(self) -> None:
        if self.headers.get("Range") is None:
            return self.whole()
        self.head(416, Content_Range=f"bytes */{len(BODY)}")

    def never_satisfied(self) -> None:
        self.head(416)

    def too_much(self) -> None:
        self.head(200)
        self.wfile.write(BODY + b"more")

    def too_much_declared(self) -> None:
        self.ranged(BODY + b"more")

    def too_little(self) -> None:
        self.head(200)
        self.wfile.write(BODY[:-1])

    def too_little_declared(self) -> None:
        self.ranged(BODY[:-1])

    def endless(self) -> None:
        self.head(200)
        self.endless_zeros()

    def endless_zeros(self) -> None:
        while not self.server.over.is_set():
            self.wfile.write(bytes(65_536))

    def wrong_bytes(self) -> None:
        self.ranged(BODY[:-1] + b"x")

    def compressed(self) -> None:
        self.head(200, Content_Encoding="gzip")
        self.wfile.write(BODY)

    def rubbish(self) -> None:
        self.wfile.write(b"\x00\x01\x02 not HTTP at all\r\n\r\n")

    # Refusals

    def busy_once(self) -> None:
        if self.count == 1:
            return self.head(429, Retry_After=0)
        self.whole()

    def busy_until_a_date(self) -> None:
        if self.count == 1:
            return self.head(503, Retry_After=formatdate(time.time(), usegmt=True))
        self.whole()

    def busy_until_whenever(self) -> None:
        if self.count == 1:
            return self.head(503, Retry_After="some time")
        self.whole()

    def busy_for_an_hour(self) -> None:
        self.head(429, Retry_After=3600)

    def broken_twice(self) -> None:
        if self.count <= 2:
            return self.head(500)
        self.whole()

    def broken(self) -> None:
        self.head(500)

    def gone(self) -> None:
        self.page(b"<html>Not here</html>", status=404)

    # Pages instead of weights

    def html(self) -> None:
        self.page(b"<html><body>Please log in to the hotel's network</body></html>")

    def html_unlabelled(self) -> None:
        page = b"\n<!DOCTYPE html><html><body>Log in</body></html>".ljust(len(BODY))
        self.page(page, kind="application/octet-stream")

    def html_endless(self) -> None:
        self.head(200, Content_Type="text/html")
        while not self.server.over.is_set():
            self.wfile.write(b"<p>" * 20_000)

    def confirm(self) -> None:
        self.page(CONFIRM_PAGE)

    def confirm_for_ever(self) -> None:
        self.page(CONFIRM_PAGE.replace(b"/drive_file", b"/confirm_for_ever"))

    def quota(self) -> None:
        self.page(QUOTA_PAGE)

    # Redirects

    def moved(self) -> None:
        self.head(302, Location="/whole")

    def moved_with_much_to_say(self) -> None:
        self.head(302, Location="/whole")
        self.endless_zeros()

    def loop(self) -> None:
        self.head(301, Location="/loop")

    def to_http(self) -> None:
        self.head(302, Location="http://example.com/whole")

    def to_file(self) -> None:
        self.head(302, Location="file:///etc/passwd")

    def to_private_name(self) -> None:
        self.head(302, Location="https://router.local/whole")

    def to_plain_name(self) -> None:
        self.head(302, Location="https://intranet/whole")

    def to_address(self) -> None:
        self.head(302, Location="https://169.254.169.254/latest")

    def to_address_in_disguise(self) -> None:
        self.head(302, Location="https://0x7f.0.0.0x1/whole")

    def to_address_v6(self) -> None:
        self.head(302, Location="https://[::1]/whole")

    def to_nonsense(self) -> None:
        self.head(302, Location="https://[::bad/whole")

    def to_password(self) -> None:
        self.head(302, Location="https://user:secret@example.com/whole")


class Server(ThreadingHTTPServer):
    """Serves ``BODY``, one way or another; remembers what it was asked."""

    daemon_threads = True
    body = BODY

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str | None]] = []
        self.over = threading.Event()

    def url(self, switch: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{switch}"


SpecFor = Callable[..., WeightSpec]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the folder in which weights lie."""
    monkeypatch.setenv("U2CUT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("U2CUT_OFFLINE", raising=False)
    return tmp_path / "home" / "weights"


@pytest.fixture
def spec_for(server: Server, home: Path) -> SpecFor:
    """Return the spec of weights whose sources misbehave in the ways named."""

    def make(*switches: str, size: int | None = len(BODY), name: str = "toy") -> WeightSpec:
        urls = tuple(server.url(switch) for switch in switches)
        digest = hashlib.sha256(BODY).hexdigest()
        form = Form(name, "pth", size, digest, urls)
        return WeightSpec(name, "a toy", (form,), "CC0-1.0", 320, "this test")

    return make


@pytest.fixture
def body() -> bytes:
    return BODY


@pytest.fixture
def quick() -> Limits:
    """Waits short enough for a test."""
    return QUICK
