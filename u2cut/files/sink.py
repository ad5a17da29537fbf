"""The place of results: a file that is whole or not there, or the guarded stdout."""

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from u2cut.console import logger
from u2cut.errors import OutputError, printable
from u2cut.files import STD
from u2cut.files.address import address_of
from u2cut.files.temporary import TemporaryFile, clear_abandoned, sync_folder


class Sink:
    """Writes results; one for a run, safe to use from several threads.

    Args:
        overwrite: Replace a target that exists; otherwise one that has come into being since
            the planning is left alone, and writing fails.
        stdout: The real stdout as ``protect_stdout`` yields it, for results that go there.
    """

    def __init__(self, *, overwrite: bool, stdout: BinaryIO | None = None) -> None:
        self._overwrite = overwrite
        self._stdout = stdout
        self._lock = threading.Lock()
        self._parts: set[TemporaryFile] = set()
        self._closed = False
        self._given_up: set[str] = set()
        self._tidied: set[int] = set()
        self._made: set[int] = set()

    def tidy(self, target: str) -> None:
        """Clear what runs that have ended left half written in a target's folder, once a folder."""
        folder = _folder_of(target)
        with self._lock:
            if target == STD or address_of(target) or hash(folder) in self._tidied:
                return
            self._tidied.add(hash(folder))
        cleared = clear_abandoned(folder)
        if cleared:
            logger.info("%s: %d half-written files cleared away", printable(folder), cleared)

    def write(self, target: str, data: bytes) -> None:
        """Write one result.

        Args:
            target: A path, an address, or ``STD`` for stdout.
            data: All of it.

        Raises:
            OutputError: It couldn't be written; no part of it is left.
        """
        if target == STD:
            if self._stdout is None:
                raise OutputError("stdout isn't open for pictures here")
            self._stdout.write(data)
            return
        if address := address_of(target):
            self._send(address, target, data)
            return
        try:
            folder = self._folder(target)
            with self._part(folder) as part:
                part.fill(data)
                self._publish(part, target)
            sync_folder(folder)
        except OSError as e:
            raise OutputError.from_os(e, target, "can't be written") from e

    def _send(self, address: str, target: str, data: bytes) -> None:
        from u2cut.files import remote

        with self._lock:
            if self._closed or target in self._given_up:
                raise OutputError("stopped", path=target)
        remote.write(address, data, replace=self._overwrite)

    def _folder(self, target: str) -> str:
        """Make the target's folder, once: one that has vanished since is a fault, not a wish."""
        folder = _folder_of(target)
        with self._lock:
            if hash(folder) not in self._made:
                try:
                    Path(folder).mkdir(parents=True, exist_ok=True)
                except FileExistsError as e:  # which here means: by a file in the folder's place
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from e
                self._made.add(hash(folder))
        return folder

    @contextmanager
    def _part(self, folder: str) -> Iterator[TemporaryFile]:
        with self._lock:
            if self._closed:
                raise InterruptedError("stopped")
            part = TemporaryFile(folder)
            self._parts.add(part)
        try:
            with part:
                yield part
        finally:
            with self._lock:
                self._parts.discard(part)

    def _publish(self, part: TemporaryFile, target: str) -> None:
        """Give the part its name; from here on it is a result."""
        with self._lock:
            if self._closed or target in self._given_up:
                raise InterruptedError("stopped")
            part.publish(Path(target), overwrite=self._overwrite)

    def give_up(self, target: str) -> None:
        """Write nothing to this target any more, should one come after all."""
        with self._lock:
            self._given_up.add(target)

    def abandon(self) -> None:
        """Stop writing at once, and remove what is half written."""
        with self._lock:
            self._closed = True
            for part in self._parts:
                part.remove()


def _folder_of(target: str) -> str:
    return os.path.dirname(target) or "."  # noqa: PTH120  (a million of them a run)
