"""What stands before every request: who may come in, how many, and with how much.

Pure ASGI, so that a request is refused before any of its body is read.
"""

import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from u2cut.service.metrics import Metrics
from u2cut.service.options import LOOPBACK, ServeOptions
from u2cut.service.problems import Refused, problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN: Final = frozenset(("/healthz", "/readyz"))  # without a token
_DRAINED: Final = 1_000_000  # bytes
_HEADERS: Final = (
    (b"content-security-policy", b"default-src 'self'; img-src 'self' blob: data:"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class Guard:
    """Checks host, origin and token; admits so many requests; counts the bytes of each.

    Args:
        app: The application behind it.
        options: The limits.
        token: What clients must send; None lets everybody in.
        metrics: Where refusals are counted.
    """

    def __init__(
        self, app: App, options: ServeOptions, token: str | None, metrics: Metrics
    ) -> None:
        self._app, self._options, self._token, self._metrics = app, options, token, metrics
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {k.lower(): v.decode("latin-1") for k, v in scope["headers"]}
        send = _with_headers(send, self._cors(headers.get(b"origin")))
        send = self._counting(scope, send)
        try:
            self._check(scope, headers)
            if scope["method"] != "POST":
                await self._app(scope, receive, send)
                return
            self._check_length(headers)
            await self._admitted(scope, receive, send)
        except Refused as e:
            self._metrics.refused(e.code)
            if isinstance(e, _TooLong):
                await _drain(receive)
            await problem(e)(scope, receive, send)

    async def _admitted(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._under_way >= self._options.queue:
            raise Refused(503, "busy", "too many requests are under way", {"Retry-After": "1"})
        self._under_way += 1
        self._metrics.under_way.set(self._under_way)
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        start = time.perf_counter()
        try:
            await self._app(scope, _limited(receive, self._options.max_body), sending)
            self._metrics.seconds.labels("request").observe(time.perf_counter() - start)
        except Refused:
            if not begun:
                raise
        finally:
            self._under_way -= 1
            self._metrics.under_way.set(self._under_way)

    def _counting(self, scope: Scope, send: Send) -> Send:
        """Count the answer to a request by its route and status."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(route, message["status"]).inc()
            await send(message)

        return sending

    def _check(self, scope: Scope, headers: dict[bytes, str]) -> None:
        host = urlsplit(f"//{headers.get(b'host', '')}").hostname or ""
        if self._options.is_local and host not in LOOPBACK:
            # A page of another site may have made its name mean this machine (DNS rebinding).
            raise Refused(403, "forbidden_host", "this service is for this machine alone")
        origin = headers.get(b"origin")
        if origin and not self._is_own(origin, headers) and origin not in self._options.cors:
            raise Refused(403, "forbidden_origin", f"pages of {origin} may not use this service")
        if self._token is None or scope["path"] in _OPEN or scope["method"] == "OPTIONS":
            return
        sent = headers.get(b"x-api-key") or headers.get(b"authorization", "").removeprefix(
            "Bearer "
        )
        if not hmac.compare_digest(sent.encode(), self._token.encode()):
            raise Refused(401, "unauthorized", "send the token as X-Api-Key")

    @staticmethod
    def _is_own(origin: str, headers: dict[bytes, str]) -> bool:
        return urlsplit(origin).netloc == headers.get(b"host", "")

    def _check_length(self, headers: dict[bytes, str]) -> None:
        length = headers.get(b"content-length", "0")
        if not length.isdecimal() or int(length) > self._options.max_body:
            raise _too_large(self._options.max_body)

    def _cors(self, origin: str | None) -> list[tuple[bytes, bytes]]:
        if not origin or origin not in self._options.cors:
            return []
        return [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"access-control-allow-headers", b"authorization, content-type, x-api-key"),
            (b"access-control-allow-methods", b"GET, POST"),
            (b"vary", b"Origin"),
        ]


class _TooLong(Refused):
    """A body that turned out to be too long while it was read."""


def _too_large(most: int, kind: type[Refused] = Refused) -> Refused:
    return kind(413, "too_large", f"a request holds at most {most} bytes")


async def _drain(receive: Receive) -> None:
    """Read a little more: a client that is cut off while it sends may never see the answer."""
    left = _DRAINED
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return


def _limited(receive: Receive, most: int) -> Receive:
    """Count a body's bytes, whatever its length claims."""
    left = most

    async def counted() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(most, _TooLong)
        return message

    return counted


def _with_headers(send: Send, more: list[tuple[bytes, bytes]]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_HEADERS, *more]
        await send(message)

    return sending
