"""Photos by address: nothing but the public internet is ever connected to."""

import http.server
import ipaddress
import socket
import threading
from collections.abc import Iterator

import pytest

from u2cut.service import urls
from u2cut.service.problems import Refused
from u2cut.service.urls import fetch, is_public

FORBIDDEN = [
    "http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/",
    "http://0/", "http://localhost/", "http://[::1]/", "http://[::]/", "http://0.0.0.0/",
    "http://10.0.0.1/", "http://172.16.0.1/", "http://192.168.1.1/", "http://169.254.169.254/",
    "http://100.100.100.200/", "http://192.0.0.192/", "http://168.63.129.16/",
    "http://[::ffff:127.0.0.1]/", "http://[::ffff:10.0.0.1]/", "http://[64:ff9b::7f00:1]/",
    "http://[64:ff9b:1::1]/", "http://[2002:7f00:1::]/", "http://[2002:a00:1::]/",
    "http://[fe80::1]/", "http://[fc00::1]/", "http://[fec0::1]/", "http://[ff02::1]/",
    "http://224.0.0.1/", "http://255.255.255.255/", "http://240.0.0.1/", "http://198.18.0.1/",
    "file:///etc/passwd", "ftp://example.com/", "gopher://127.0.0.1/", "http://user@8.8.8.8/",
    "http://user:pass@8.8.8.8/", "http://8.8.8.8:22/", "https://8.8.8.8:80/",
    "http://8.8.8.8:99999/", "http:///x", "http://", "//127.0.0.1/", "javascript:alert(1)", "",
]  # fmt: skip


@pytest.fixture
def no_connections(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Any connection that is tried is noted, and fails."""
    tried: list[object] = []

    def connect(self: socket.socket, address: object) -> None:
        tried.append(address)
        raise OSError("no connection in this test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return tried


@pytest.mark.parametrize("url", FORBIDDEN)
def test_a_forbidden_address_sees_no_connection(url: str, no_connections: list[object]) -> None:
    with pytest.raises(Refused) as error:
        fetch(url, most=1000, seconds=5)
    assert error.value.status in (400, 403, 422)
    assert no_connections == []


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "93.184.216.34"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


class Misbehaving(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.end_headers()
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        elif self.path == "/missing":
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * (10_000 if self.path == "/long" else 100))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A site on loopback that counts as public, under the usual port's stand-in."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    real = urls.is_public
    monkeypatch.setattr(urls, "is_public", lambda a: str(a) == "127.0.0.1" or real(a))
    monkeypatch.setattr(urls, "_PORTS", {"http": server.server_port, "https": 443})
    yield "http://127.0.0.1"
    server.shutdown()
    server.server_close()


def test_a_photo_is_fetched_within_its_limits(site: str) -> None:
    assert fetch(f"{site}/photo", most=1000, seconds=5) == b"x" * 100
    with pytest.raises(Refused, match="more than 1000 bytes"):
        fetch(f"{site}/long", most=1000, seconds=5)
    with pytest.raises(Refused, match="status 404"):
        fetch(f"{site}/missing", most=1000, seconds=5)


def test_redirects_are_checked_like_addresses(site: str) -> None:
    with pytest.raises(Refused, match="not on the public internet"):
        fetch(f"{site}/away", most=1000, seconds=5)
    with pytest.raises(Refused, match="redirects too often"):
        fetch(f"{site}/round", most=1000, seconds=5)


def test_a_name_is_resolved_once_and_all_its_addresses_count(
    monkeypatch: pytest.MonkeyPatch, no_connections: list[object]
) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        found = ["93.184.216.34", "10.0.0.1"] if host == "mixed.example" else ["93.184.216.34"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, port)) for a in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(Refused, match="not on the public internet"):
        fetch("http://mixed.example/", most=10, seconds=5)
    assert no_connections == []
    with pytest.raises(Refused, match="no answer"):
        fetch("http://public.example/", most=10, seconds=5)
    assert no_connections == [("93.184.216.34", 80)]
    assert asked.count("public.example") == 1
