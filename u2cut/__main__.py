"""Entry point of ``u2cut`` and ``python -m u2cut``."""

import contextlib
import os
import sys

from u2cut.errors import ExitCode
from u2cut.stdio import claim_standard_streams


def main() -> None:
    """Run the command line and exit."""
    claim_standard_streams()
    from u2cut.cli.app import run

    code = run()
    if code == ExitCode.INTERRUPTED:
        # Worker threads may be deep in a decoder; waiting for them would not be stopping.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
