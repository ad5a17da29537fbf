"""One GET over https: every wait has an end, and every redirect is checked."""

import errno
import os
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urljoin, urlsplit

import requests

from u2cut.errors import printable
from u2cut.version import __version__
from u2cut.weights.cache import LOCK_SECONDS

CHUNK = 1 << 16
MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_PRIVATE_DOMAINS = ("local", "localhost", "localdomain", "internal", "intranet", "lan", "arpa")


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of waiting, in seconds, and of trying again.

    Attributes:
        connect: For a connection to one address.
        answer: For the head of an answer, name resolution and connection included.
        stall: For each 64 KiB of a file.
        reach: For the first answer of any source, all in all; None is in no hurry.
        index: For the first byte that pip brings, through all of its retries.
        attempts: Tries of one source that bring less than 64 KiB.
        backoff: Before the second try; doubled each time.
        retry_after: The longest wait that a server may ask for.
        lock: For another process that is fetching the same.
        host: Also allow http and https to this host, public or not: the user's own mirror,
            about whose files the SHA-256 decides like about any other's.
    """

    connect: float = 5
    answer: float = 30
    stall: float = 30
    reach: float | None = None
    index: float = 180
    attempts: int = 4
    backoff: float = 1
    retry_after: float = 60
    lock: float = LOCK_SECONDS
    host: str = ""


class SourceError(Exception):
    """The reason why a source does not give the file.

    Args:
        reason: What the user is told.
        retry: Whether the same source may do better a little later.
        wait: How many seconds it asked for, if it did.
    """

    def __init__(self, reason: str, *, retry: bool = False, wait: float | None = None) -> None:
        super().__init__(reason)
        self.retry = retry
        self.wait = wait


class _Session(requests.Session):
    """Leaves redirects to ``get``: requests would read their bodies first, however long."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Find no target, so that requests does nothing about it."""


class Answer:
    """The head of an HTTP answer, and its body while it comes in.

    The exchange runs in a thread of its own, because neither the resolution of a name nor a
    server that sends a byte now and then heeds a socket's timeout.

    Args:
        url: What to get.
        headers: Request headers.
        limits: How long to wait.
        seconds: How long to wait for the head.
    """

    def __init__(self, url: str, headers: dict[str, str], limits: Limits, seconds: float) -> None:
        self.url = url
        self._stall = limits.stall
        self._events: queue.Queue[requests.Response | bytes | Exception | None]
        self._events = queue.Queue(maxsize=16)
        self._abandoned = threading.Event()
        timeout = (min(limits.connect, seconds), limits.stall)
        threading.Thread(target=self._exchange, args=(headers, timeout), daemon=True).start()
        head = self._next(seconds, "no answer in time")
        assert isinstance(head, requests.Response)
        self.status = head.status_code
        self.headers = head.headers

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes, 64 KiB at most at once.

        Raises:
            SourceError: The connection broke, or nothing came for too long.
        """
        silence = f"nothing came for {self._stall:.2g} s"
        while isinstance(chunk := self._next(self._stall, silence), bytes):
            yield chunk

    def _exchange(self, headers: dict[str, str], timeout: tuple[float, float]) -> None:
        try:
            with (
                _Session() as session,
                session.get(self.url, headers=headers, stream=True, timeout=timeout) as response,
            ):
                self._hand_over(response)
                for chunk in response.iter_content(CHUNK):
                    if not self._hand_over(chunk):
                        return
            self._hand_over(None)
        except Exception as e:  # whatever it is, the waiting thread must hear of it
            self._hand_over(e)

    def _hand_over(self, event: requests.Response | bytes | Exception | None) -> bool:
        while not self._abandoned.is_set():
            try:
                self._events.put(event, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False

    def _next(self, seconds: float, silence: str) -> requests.Response | bytes | None:
        try:
            event = self._events.get(timeout=seconds)
        except queue.Empty:
            self._abandoned.set()
            raise SourceError(silence, retry=True) from None
        if isinstance(event, Exception):
            raise _explained(event) from event
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._abandoned.set()


def get(url: str, headers: dict[str, str], limits: Limits, deadline: float | None) -> Answer:
    """Ask for a URL, following redirects to public https addresses only.

    Args:
        url: What to get.
        headers: Request headers, to which the common ones are added.
        limits: How long to wait.
        deadline: When (``time.monotonic``) the head must be here, if that is sooner.

    Raises:
        SourceError: There is no answer, or a redirect leads astray.
    """
    headers = {"User-Agent": f"u2cut/{__version__}", "Accept-Encoding": "identity", **headers}
    for _ in range(MAX_REDIRECTS + 1):
        _refuse_address(url, limits)
        seconds = limits.answer
        if deadline is not None:
            seconds = min(seconds, max(deadline - time.monotonic(), 0.01))
        answer = Answer(url, headers, limits, seconds)
        location = answer.headers.get("Location")
        if answer.status not in _REDIRECTS or location is None:
            return answer
        with answer:
            try:
                url = urljoin(url, location)
            except ValueError as e:
                raise SourceError("redirects to an address that makes no sense") from e
    raise SourceError(f"redirects more than {MAX_REDIRECTS} times")


def _refuse_address(url: str, limits: Limits) -> None:
    """Refuse what isn't https to a public name."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError as e:
        raise SourceError(f"refused: {printable(url[:200])} makes no sense") from e
    if limits.host == host != "" and parts.scheme in ("http", "https"):
        return
    if parts.scheme != "https":
        raise SourceError(f"refused: {printable(url[:200])} is not https")
    # A bare number, decimal or not, is an address; no public name ends in one.
    _, dot, domain = host.rpartition(".")
    if not dot or not domain[:1].isalpha() or domain in _PRIVATE_DOMAINS or parts.username:
        raise SourceError(f"refused: {printable(url[:200])} is no public address")


def _explained(error: Exception) -> SourceError:
    """Put one of requests' exceptions in words."""
    detail = str(error)
    if isinstance(error, requests.exceptions.ProxyError):
        return SourceError("the proxy can't be reached or refuses (see HTTPS_PROXY)", retry=True)
    if isinstance(error, requests.exceptions.SSLError):
        return SourceError("no secure connection (a bad certificate, or a proxy that intercepts?)")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return SourceError("no connection in time", retry=True)
    if isinstance(error, requests.exceptions.ReadTimeout):
        return SourceError("no answer in time", retry=True)
    if "NameResolutionError" in detail or "getaddrinfo" in detail:
        return SourceError("the server's name can't be resolved (no network?)")
    if os.strerror(errno.EMFILE) in detail:
        return SourceError("too many open files; raise the limit with ulimit -n")
    if "Failed to establish a new connection" in detail:
        return SourceError("no connection (no network, or a firewall?)", retry=True)
    if "timed out" in detail:
        return SourceError("it stopped sending", retry=True)
    if isinstance(error, (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        return SourceError("the connection broke", retry=True)
    return SourceError(f"{type(error).__name__}: {printable(detail[:200])}")
