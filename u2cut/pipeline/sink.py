"""Where results go: a file that is whole or not there, or the guarded stdout."""

import os
import secrets
import threading
from pathlib import Path
from typing import BinaryIO

from u2cut.errors import OutputError
from u2cut.pipeline.jobs import STD, Job
from u2cut.stdio import printable

PART = ".u2cut-part"


class Sink:
    """Writes results; one for a run, safe to use from several threads.

    Args:
        overwrite: Replace a target that exists; otherwise one that has come into being since
            the planning is left alone, and the job fails.
        stdout: The real stdout, for jobs that go there.
    """

    def __init__(self, *, overwrite: bool, stdout: BinaryIO | None = None) -> None:
        self._overwrite = overwrite
        self._stdout = stdout
        self._lock = threading.Lock()
        self._parts: set[Path] = set()
        self._closed = False

    def write(self, job: Job, data: bytes) -> None:
        """Write one result.

        Raises:
            OutputError: It couldn't be written; no part of it is left.
        """
        if job.target == STD:
            self._write_stdout(data)
            return
        target = Path(job.target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            part = self._open_part(target.parent)
        except OSError as e:
            raise _unwritable(job, e) from e
        try:
            part.write_bytes(data)
            self._publish(part, target)
        except OSError as e:
            raise _unwritable(job, e) from e
        finally:
            part.unlink(missing_ok=True)
            with self._lock:
                self._parts.discard(part)

    def _write_stdout(self, data: bytes) -> None:
        if self._stdout is None:
            raise OutputError("stdout isn't open for pictures here")
        view = memoryview(data)
        try:
            while view:
                view = view[self._stdout.write(view) :]
        except OSError as e:
            raise OutputError(f"stdout: {e.strerror}; the reader has gone away") from e

    def _open_part(self, folder: Path) -> Path:
        with self._lock:
            if self._closed:
                raise InterruptedError("stopped")
            part = folder / f".{secrets.token_hex(8)}{PART}"
            # Not mkstemp: the umask decides who may read the result.
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            self._parts.add(part)
            return part

    def _publish(self, part: Path, target: Path) -> None:
        with self._lock:
            if self._closed:
                raise InterruptedError("stopped")
            if self._overwrite:
                part.replace(target)
                return
            try:
                target.hardlink_to(part)
            except FileExistsError:
                raise
            except OSError:
                # No hard links here (FAT, some network folders): next best.
                if target.exists():
                    raise FileExistsError(17, "exists already") from None
                part.replace(target)

    def abandon(self) -> None:
        """Stop writing at once, and remove what is half written."""
        with self._lock:
            self._closed = True
            for part in self._parts:
                part.unlink(missing_ok=True)


def _unwritable(job: Job, e: OSError) -> OutputError:
    remedy = {
        FileExistsError: "; --overwrite replaces it",
        PermissionError: "; choose a folder that you may write to with -o",
    }.get(type(e), "")
    reason = e.strerror or str(e)
    return OutputError(f"{printable(job.target)}: can't be written ({reason}){remedy}")
