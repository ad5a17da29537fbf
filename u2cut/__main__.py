"""Entry point of ``u2cut`` and ``python -m u2cut``."""

import atexit
import contextlib
import os
import sys
import threading

from u2cut.console import claim_standard_streams
from u2cut.errors import ExitCode


def main() -> None:
    """Run the command line and exit."""
    claim_standard_streams()
    from u2cut.cli.app import run

    _leave(run())


def _leave(code: int) -> None:
    """End the process without taking apart all that was loaded: with torch, that takes 0.4 s.

    What else Python does at the end is done: waiting for threads, exit handlers, flushing.
    """
    if code == ExitCode.INTERRUPTED:
        # Worker threads may be deep in a decoder; waiting for them would not be stopping.
        with contextlib.suppress(OSError, ValueError):
            _flush()
        os._exit(code)
    try:
        _flush()
        if not _others_at_work():
            atexit._run_exitfuncs()
            _flush()
            os._exit(code)
    except (OSError, ValueError):
        pass  # a stream that can't be flushed: Python says so
    sys.exit(code)


def _others_at_work() -> bool:
    """Say whether there are threads that Python would wait for."""
    return any(not t.daemon and t is not threading.main_thread() for t in threading.enumerate())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()


if __name__ == "__main__":
    main()
