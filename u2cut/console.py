"""The three standard streams: a guarded stdout, logs and progress on stderr, safe names."""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from u2cut.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from u2cut.progress import Bar

logger = logging.getLogger("u2cut")
# Between information and a warning: shown unless --quiet, and nothing is wrong.
NOTICE = 25
_bars: "list[Bar]" = []  # those on the terminal, the innermost last


def claim_standard_streams() -> None:
    """Keep the numbers 0, 1 and 2 from files, where a stream was closed at start (``>&-``).

    Else the next file opened would be "stdout" to every library that prints. Reading such a
    stdin and writing to such a stdout fail, as they should; what goes to stderr is lost.
    """
    for number, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


class _Stdout(io.FileIO):
    """The real stdout: each write is whole, or an ``OutputError``."""

    def write(self, data: "ReadableBuffer") -> int:
        rest = whole = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[super().write(rest) :]
        except BrokenPipeError as e:
            raise OutputError("Broken pipe", path="stdout", remedy="nobody reads it") from e
        except OSError as e:
            raise OutputError.from_os(e, "stdout") from e
        return len(whole)


@contextmanager
def protect_stdout() -> Iterator[BinaryIO]:
    """Keep stdout for the caller alone.

    File descriptor 1 points at stderr while the context is open, so whatever a library prints
    (from Python or from C) lands there. The yielded stream is the real stdout, unbuffered;
    a write that fails raises ``OutputError``.
    """
    _flush_stdout()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr), _Stdout(os.dup(real), "wb") as stream:
            yield cast(BinaryIO, stream)
    finally:
        # What Python buffered for "stdout" meanwhile was a library's: it goes to stderr too.
        _flush_stdout()
        os.dup2(real, 1)
        os.close(real)


def _flush_stdout() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


class _Formatter(logging.Formatter):
    """``u2cut: warning: text``; information and debugging without a level."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return f"u2cut: {level}{text}"


class _StderrHandler(logging.Handler):
    """Writes above a progress bar, if one is on the terminal, instead of through it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
            if _bars:
                _bars[-1].write(line)
            else:
                sys.stderr.write(line + "\n")
                sys.stderr.flush()
        except (OSError, ValueError):
            pass  # a closed stderr must not cost a photo


def configure_logging(*, quiet: bool = False, verbose: bool = False) -> None:
    """Send u2cut's log to stderr: errors only, notices and warnings (the default) or all."""
    handler = _StderrHandler()
    handler.setFormatter(_Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.setLevel(logging.ERROR if quiet else logging.INFO if verbose else NOTICE)
    logger.propagate = False


class Progress(Protocol):
    """A progress bar's face."""

    def update(self, n: int = 1) -> None:
        """Move on by ``n``."""

    def show(self, text: str) -> None:
        """Show a short text behind the bar."""


class _NoProgress:
    def update(self, n: int = 1) -> None:
        pass

    def show(self, text: str) -> None:
        pass


@contextmanager
def progress(
    total: int | None, *, unit: str, label: str | None = None, quiet: bool = False
) -> Iterator[Progress]:
    """Show a progress bar on stderr, on a terminal only.

    Args:
        total: How many units there will be; None when nobody knows.
        unit: What is counted, "photo" or "B" (bytes, with prefixes).
        label: A short text before the bar.
        quiet: Show nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield _NoProgress()
        return
    from u2cut.progress import Bar

    with Bar(total, unit, label or "") as bar:
        _bars.append(bar)
        try:
            yield bar
        finally:
            _bars.remove(bar)
