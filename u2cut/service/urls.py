"""Photos by address, fetched for clients: from public addresses only.

The name is resolved once, every address is checked, and the connection goes to the one that was
checked, so that nothing can change its mind in between (DNS rebinding). Redirects are followed by
hand and checked likewise.
"""

import ipaddress
import socket
import time
from typing import Final
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from u2cut.service.problems import Refused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_PORTS: Final = {"http": 80, "https": 443}
_REDIRECTS: Final = 5
_CHUNK: Final = 1 << 16
# Addresses that Python calls global, or that lead to ones that aren't.
_DENIED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "100.64.0.0/10",
            "192.0.0.0/24",
            "192.88.99.0/24",
            "168.63.129.16/32",
            "64:ff9b::/96",
            "64:ff9b:1::/48",
            "2001::/23",
            "2002::/16",
            "3fff::/20",
            "fec0::/10",
        ),
    )
)


def is_public(address: Address) -> bool:
    """Return whether an address is one of the public internet's, and leads to no other."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return is_public(mapped)
    if any(address in network for network in _DENIED if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


def fetch(url: str, *, most: int, seconds: float) -> bytes:
    """Fetch a photo.

    Args:
        url: Its address, http or https on their usual ports.
        most: Bytes at most.
        seconds: For all of it.

    Raises:
        Refused: The address isn't public, or the photo can't be had.
    """
    deadline = time.monotonic() + seconds
    for _ in range(_REDIRECTS + 1):
        answer = _get(url, deadline)
        try:
            if answer.status in (301, 302, 303, 307, 308):
                url = urljoin(url, answer.headers.get("Location", ""))
                continue
            if not 200 <= answer.status < 300:
                raise _failed(f"the address answers with status {answer.status}")
            return _body(answer, most, deadline)
        finally:
            answer.release_conn()
            answer.close()
    raise _failed("the address redirects too often")


def _get(url: str, deadline: float) -> urllib3.BaseHTTPResponse:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in _PORTS or not parts.hostname or parts.username or parts.password:
        raise Refused(400, "invalid_url", "give an http or https address without a user's name")
    usual = _PORTS[parts.scheme]
    if port not in (None, usual):
        raise Refused(400, "invalid_url", "only ports 80 (http) and 443 (https) are allowed")
    address = _resolved(parts.hostname, usual)
    left = max(0.1, deadline - time.monotonic())
    timeout = Timeout(connect=min(left, 10), read=min(left, 20), total=left)
    pool: urllib3.HTTPConnectionPool
    if parts.scheme == "https":
        pool = urllib3.HTTPSConnectionPool(
            address, usual, server_hostname=parts.hostname, assert_hostname=parts.hostname,
            cert_reqs="CERT_REQUIRED", timeout=timeout, retries=False,
        )  # fmt: skip
    else:
        pool = urllib3.HTTPConnectionPool(address, usual, timeout=timeout, retries=False)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        return pool.request(
            "GET", path, headers={"Host": parts.hostname, "User-Agent": "u2cut"},
            redirect=False, preload_content=False, assert_same_host=False,
        )  # fmt: skip
    except (HTTPError, OSError, UnicodeError) as e:
        raise _failed("the address gives no answer") from e


def _resolved(host: str, port: int) -> str:
    """Return an address of a host, if all of them are public.

    Raises:
        Refused: One isn't, or there is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as e:
        raise _failed("the address's host isn't known") from e
    addresses = [str(info[4][0]) for info in found]
    for text in addresses:
        if not is_public(ipaddress.ip_address(text.partition("%")[0])):
            raise Refused(403, "forbidden_url", "the address is not on the public internet")
    return addresses[0]


def _body(answer: urllib3.BaseHTTPResponse, most: int, deadline: float) -> bytes:
    parts, length = [], 0
    try:
        for chunk in answer.stream(_CHUNK, decode_content=False):
            length += len(chunk)
            if length > most:
                raise Refused(413, "too_large", f"the photo has more than {most} bytes")
            if time.monotonic() > deadline:
                raise _failed("the address is too slow")
            parts.append(chunk)
    except (HTTPError, OSError) as e:
        raise _failed("the address stopped sending") from e
    return b"".join(parts)


def _failed(why: str) -> Refused:
    return Refused(422, "failed_download", why)
