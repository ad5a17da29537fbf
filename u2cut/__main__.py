"""Entry point of ``u2cut`` and ``python -m u2cut``."""

import os
import sys

from u2cut.errors import ExitCode


def main() -> None:
    """Run the command line and exit."""
    from u2cut.cli.app import run

    code = run()
    if code == ExitCode.INTERRUPTED:
        # Worker threads may be deep in a decoder; waiting for them would not be stopping.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
