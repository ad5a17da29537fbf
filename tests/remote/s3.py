"""A small object store on loopback that speaks S3, and misbehaves when told to."""

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1000  # keys in a page of a listing, as S3 has them


class Store:
    """Buckets of objects, and how requests for them go wrong.

    Attributes:
        objects: By (bucket, key).
        faults: Called with method and key; returns "503", "403", "cut", "lost" or "".
        latency: Seconds before each answer.
        asked: (method, key) of each request.
        asked_signed: (key, whether it was signed) of each request.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.buckets = {"shop"}
        self.faults: Callable[[str, str], str] = lambda method, key: ""
        self.latency = 0.0
        self.asked: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        self.asked_signed: list[tuple[str, bool]] = []
        self._listed: tuple[int, list[str]] | None = None  # of so many objects

    def keys(self, bucket: str = "shop") -> list[str]:
        if self._listed is None or self._listed[0] != len(self.objects):
            found = sorted(key for b, key in list(self.objects) if b == bucket)
            self._listed = (len(self.objects), found)
        return self._listed[1]


def etag_of(data: bytes) -> str:
    return f'"{hash(data):x}"'


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is one packet
    store: Store

    def log_message(self, *_: object) -> None:
        pass

    def _begin(self) -> tuple[str, str, str]:
        parts = urlsplit(self.path)
        bucket, _, key = parts.path.lstrip("/").partition("/")
        time.sleep(self.store.latency)
        key = unquote(key)
        with self.store.lock:
            self.store.asked.append((self.command, key))
            self.store.asked_signed.append((key, "Authorization" in self.headers))
        return bucket, key, self.store.faults(self.command, key)

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        length = headers.pop("length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._answer(status, body.encode(), Content_Type="application/xml")

    def _refused(self, bucket: str, fault: str) -> bool:
        if fault in ("503", "403"):
            self._error(int(fault), "SlowDown" if fault == "503" else "AccessDenied")
        elif bucket not in self.store.buckets:
            self._error(404, "NoSuchBucket")
        else:
            return False
        return True

    def do_GET(self) -> None:
        bucket, key, fault = self._begin()
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if self._refused(bucket, fault):
            return
        if not key and "list-type" in query:
            self._list(bucket, query)
            return
        data = self.store.objects.get((bucket, key))
        if data is None:
            self._error(404, "NoSuchKey")
            return
        if self.headers.get("If-Match") not in (None, etag_of(data)):
            self._error(412, "PreconditionFailed")
            return
        more = {"ETag": etag_of(data), "Last_Modified": "Tue, 01 Sep 2026 00:00:00 GMT"}
        if fault == "cut":
            self._answer(200, data[: len(data) // 2], length=str(len(data)), **more)
            self.close_connection = True
            return
        self._answer(200, data, **more)

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        bucket, key, fault = self._begin()
        length = int(self.headers["Content-Length"])
        data = self.rfile.read(length)
        if len(data) < length:  # the client has gone: nothing is kept, as in S3
            self.close_connection = True
            return
        if self._refused(bucket, fault):
            return
        with self.store.lock:
            if self.headers.get("If-None-Match") == "*" and (bucket, key) in self.store.objects:
                self._error(412, "PreconditionFailed")
                return
            self.store.objects[bucket, key] = data
        if fault == "lost":  # done, but nobody hears of it
            self._error(503, "SlowDown")
            return
        self._answer(200, ETag=etag_of(data))

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        keys = self.store.keys(bucket)
        first = max(bisect_left(keys, prefix), bisect_right(keys, after))
        page = [key for key in keys[first : first + PAGE] if key.startswith(prefix)]
        cut = len(page) == PAGE
        inside = ""
        if "delimiter" in query:  # of a small folder: one page
            rests = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
            page = [prefix + rest for rest in rests if "/" not in rest]
            names = sorted({f"{prefix}{rest.split('/')[0]}/" for rest in rests if "/" in rest})
            inside = "".join(
                f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
                for name in names
            )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if cut else ""
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(self.store.objects[bucket, key])}</Size>"
            "<LastModified>2026-09-01T00:00:00.000Z</LastModified><ETag>"
            f"{escape(etag_of(self.store.objects[bucket, key]))}</ETag>"
            "</Contents>"
            for key in page
        )
        body = (
            f"<ListBucketResult><IsTruncated>{str(cut).lower()}</IsTruncated>{token}{contents}{inside}"
            "</ListBucketResult>"
        )
        self._answer(200, body.encode(), Content_Type="application/xml")


@contextmanager
def serving() -> Iterator[tuple[Store, str]]:
    """Run a store; yield it and its address."""
    store = Store()
    handler = type("Handler", (_Handler,), {"store": store})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
