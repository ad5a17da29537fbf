"""Entry point of ``u2cut`` and ``python -m u2cut``."""

import sys


def main() -> None:
    """Run the command line and exit."""
    from u2cut.cli.app import run

    sys.exit(run())


if __name__ == "__main__":
    main()
