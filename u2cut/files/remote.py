"""Photos and results elsewhere: object stores (s3, gs, az), the web, and what fsspec knows.

obstore's requests are whole or fail: one PUT makes a result, and with "create" the store itself
makes sure that nothing is replaced. Credentials and endpoints come from each vendor's standard
environment variables.
"""

import contextlib
import errno
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, TypeVar

from u2cut.console import logger
from u2cut.errors import InputError, MissingDependencyError, OutputError, U2cutError, printable
from u2cut.files.address import address_of, is_web

STORES: Final = ("s3", "gs", "az", "abfs", "abfss")
MOST_FROM_WEB: Final = 256 << 20  # bytes of a photo on the web
_WEB_SECONDS: Final = 120.0
_TRIES: Final = 4
_CHUNK: Final = 1 << 20

R = TypeVar("R")


class _Unreachable(ConnectionError):
    """A store that fails whatever is asked of it: not this photo's fault."""


def read(address: str, most: int, *, signed: bool = True, etag: str = "") -> bytes:
    """Read what is at an address.

    Args:
        address: SCHEME://...
        most: Bytes that are read at most.
        signed: Show the store credentials; public buckets need none.
        etag: The version that is meant, of those that a listing gives one; empty for any.

    Raises:
        InputError: It isn't there, is another version, may not be read, is too large, or can't be
            had.
        MissingDependencyError: The extra for this scheme isn't installed.
    """
    if is_web(address):
        return _read_web(address, min(most, MOST_FROM_WEB))
    with _as_input():
        return _again(lambda: _place(address, signed).read(address, most, etag))


def write(address: str, data: bytes, *, replace: bool) -> None:
    """Write an object in one request: whole or not at all.

    Args:
        address: SCHEME://...
        data: All of it.
        replace: Whether one that is there may be replaced.

    Raises:
        OutputError: It is there already, or can't be written.
        MissingDependencyError: The extra for this scheme isn't installed.
    """
    if is_web(address):
        raise OutputError("the web can't be written to", path=address)
    try:
        _again(lambda: _place(address).write(address, data, replace))
    except FileExistsError as e:
        # The answer to an earlier try may have been lost, and what is there be this very result.
        if not _holds(address, data):
            raise OutputError(f"can't be written ({_words(e)})", path=address) from e
    except OSError as e:
        raise OutputError(f"can't be written ({_words(e)})", path=address) from e


def _holds(address: str, data: bytes) -> bool:
    try:
        return read(address, len(data)) == data
    except U2cutError:
        return False


def listing(folder: str, *, signed: bool = True) -> Iterator[tuple[str, str]]:
    """Go through all that is under a folder, in the store's order, as it comes.

    Yields:
        Address, and etag if there is one.

    Args:
        folder: SCHEME://...
        signed: Show the store credentials.

    Raises:
        InputError: It can't be listed.
        MissingDependencyError: The extra for this scheme isn't installed.
    """
    if is_web(folder):
        raise InputError("the web has no folders", path=folder, remedy="name each photo, or a list")
    try:
        with _as_input():
            yield from _place(folder, signed).list(folder.rstrip("/") + "/")
    except InputError as e:
        raise InputError(str(e), path=folder) from e


class Existing:
    """Tells whether results exist; a remote folder is listed once instead of asked for each.

    Args:
        folder: The folder of all results; None if they go beside their photos.
    """

    def __init__(self, folder: str | None) -> None:
        address = folder and address_of(folder)
        self._folder = f"{address.rstrip('/')}/" if address else None
        self._listed: set[int] | None = None
        self._lock = threading.Lock()

    def __contains__(self, target: str) -> bool:
        address = address_of(target)
        if address is None:
            return os.path.lexists(target)
        if self._folder is None or not address.startswith(self._folder):
            with _as_input():
                return _again(lambda: _place(address).exists(address))
        with self._lock:
            if self._listed is None:
                self._listed = {hash(found) for found, _ in listing(self._folder)}
        return hash(address) in self._listed


def _place(address: str, signed: bool = True) -> "_Objects | _Files":
    scheme, _, rest = address.partition("://")
    if "\0" in address:
        raise FileNotFoundError("a NUL in the name")
    if scheme in STORES:
        return _objects(scheme, rest.split("/", 1)[0], signed)
    if scheme == "file":
        raise FileNotFoundError("leave out file://")
    return _Files(scheme)


@cache
def _objects(scheme: str, bucket: str, signed: bool) -> "_Objects":
    return _Objects(scheme, bucket, signed)


class _Objects:
    """A bucket, through obstore."""

    def __init__(self, scheme: str, bucket: str, signed: bool) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ImportError as e:
            raise MissingDependencyError(f"{scheme}://", "remote") from e
        unsigned: Any = {} if signed else {"skip_signature": True}
        self._obstore, self._root = obstore, f"{scheme}://{bucket}"
        try:
            self._store = from_url(
                self._root,
                client_options={
                    "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
                    "timeout": "120s",
                    "connect_timeout": "10s",
                },
                retry_config={"max_retries": 5},
                **unsigned,
            )
        except Exception as e:  # whatever its settings make of the environment
            raise _Unreachable(_words(e)) from e

    def _key(self, address: str) -> str:
        return address.removeprefix(f"{self._root}/")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Turn obstore's errors into the system's."""
        faults = self._obstore.exceptions
        try:
            yield
        except faults.AlreadyExistsError as e:
            raise FileExistsError(errno.EEXIST, str(e)) from e
        except (faults.PermissionDeniedError, faults.UnauthenticatedError) as e:
            raise PermissionError(str(e)) from e
        except (faults.InvalidPathError, ValueError) as e:
            raise FileNotFoundError("a name with an empty part, . or .. is not read") from e
        except FileNotFoundError:
            raise
        except faults.PreconditionError as e:
            raise InputError("has changed since it was listed") from e
        except (faults.BaseError, OSError) as e:
            raise _Unreachable(str(e)) from e

    def read(self, address: str, most: int, etag: str) -> bytes:
        options: Any = {"if_match": etag} if etag else None
        with self._faults():
            found = self._obstore.get(self._store, self._key(address), options=options)
            size = found.meta["size"]
            if size > most:
                raise _too_large(most)
            data = bytes(found.bytes())
        if len(data) != size:
            raise _Unreachable(f"{len(data)} of {size} bytes came")
        return data

    def write(self, address: str, data: bytes, replace: bool) -> None:
        mode: Any = "overwrite" if replace else "create"
        with self._faults():
            self._obstore.put(self._store, self._key(address), data, mode=mode, use_multipart=False)

    def exists(self, address: str) -> bool:
        try:
            with self._faults():
                self._obstore.head(self._store, self._key(address))
        except FileNotFoundError:
            return False
        return True

    def list(self, folder: str) -> Iterator[tuple[str, str]]:
        key, last = self._key(folder), ""
        with self._faults():
            try:
                for page in self._obstore.list(self._store, key or None):
                    for found in page:
                        last = found["path"]
                        yield f"{self._root}/{last}", found["e_tag"] or ""
            except self._obstore.exceptions.InvalidPathError:
                # Some name has an empty part: folder by folder, it costs its own folder only.
                for path, etag in self._walk(key):
                    if path > last:
                        yield f"{self._root}/{path}", etag

    def _walk(self, folder: str) -> Iterator[tuple[str, str]]:
        found = self._obstore.list_with_delimiter(self._store, folder or None)
        yield from ((entry["path"], entry["e_tag"] or "") for entry in found["objects"])
        for inside in found["common_prefixes"]:
            try:
                yield from self._walk(f"{inside}/")
            except self._obstore.exceptions.InvalidPathError:
                logger.warning(
                    "%s/%s: is left out, for it holds a name with an empty part, . or ..",
                    printable(self._root), printable(inside),
                )  # fmt: skip


class _Files:
    """A file system that fsspec knows: sftp, smb, memory and others."""

    def __init__(self, scheme: str) -> None:
        self._scheme = scheme

    def _open(self, address: str) -> tuple[Any, str]:
        try:
            import fsspec

            files, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except ImportError as e:
            raise FileNotFoundError(f"{self._scheme}:// needs a package: {e}") from e
        except ValueError as e:
            raise FileNotFoundError(str(e)) from e
        return files, str(path)

    def read(self, address: str, most: int, etag: str) -> bytes:
        files, path = self._open(address)
        if (files.info(path).get("size") or 0) > most:
            raise _too_large(most)
        return bytes(files.cat_file(path))

    def write(self, address: str, data: bytes, replace: bool) -> None:
        files, path = self._open(address)
        if not replace and files.exists(path):
            raise FileExistsError(errno.EEXIST, address)
        with contextlib.suppress(NotImplementedError):
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
        files.pipe_file(path, data)

    def exists(self, address: str) -> bool:
        files, path = self._open(address)
        return bool(files.exists(path))

    def list(self, folder: str) -> Iterator[tuple[str, str]]:
        files, path = self._open(folder)
        root = path.rstrip("/")
        for name in sorted(files.find(root)):
            yield folder + str(name).removeprefix(root).lstrip("/"), ""


def _read_web(address: str, most: int) -> bytes:
    import requests

    def once() -> bytes:
        end = time.monotonic() + _WEB_SECONDS
        try:
            with requests.get(address, stream=True, timeout=(10, 30)) as answer:
                if answer.status_code in (429, 500, 502, 503, 504):
                    raise _Unreachable(f"HTTP {answer.status_code}")
                if answer.status_code != 200:
                    raise FileNotFoundError(f"HTTP {answer.status_code} {answer.reason}")
                data = bytearray()
                for chunk in answer.iter_content(_CHUNK):
                    data += chunk
                    if len(data) > most:
                        raise _too_large(most)
                    if time.monotonic() > end:
                        raise _Unreachable(f"took longer than {_WEB_SECONDS:g} s")
                return bytes(data)
        except (ValueError, requests.exceptions.InvalidSchema) as e:
            raise FileNotFoundError(f"no address ({e})") from e
        except requests.RequestException as e:
            raise _Unreachable(str(e)) from e

    with _as_input():
        return _again(once)


def _again(work: Callable[[], R]) -> R:
    """Do a piece of work; a few times, with growing pauses, where the other side stumbles."""
    for attempt in range(_TRIES):
        try:
            return work()
        except _Unreachable:
            if attempt == _TRIES - 1:
                raise
            time.sleep(random.uniform(0.5, 1) * 0.25 * 2**attempt)  # noqa: S311
    raise AssertionError


@contextmanager
def _as_input() -> Iterator[None]:
    try:
        yield
    except U2cutError:
        raise
    except OSError as e:
        raise InputError(f"can't be read ({_words(e)})") from e


def _too_large(most: int) -> InputError:
    return InputError(f"has more than {most >> 20} MiB")


def _words(error: Exception) -> str:
    """Return what went wrong, and what to do about it, in one line."""
    if isinstance(error, FileExistsError):
        return "exists already"
    if isinstance(error, PermissionError):
        return "not allowed with these credentials; --no-sign is for public buckets"
    text = str(error)
    if "NoSuchBucket" in text:
        return "there is no such bucket"
    if isinstance(error, FileNotFoundError) and "Server returned" in text:
        return "there is no such object"
    return printable(text.strip().split("\n", 1)[0])[:300]
