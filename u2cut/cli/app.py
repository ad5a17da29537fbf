"""The command tree, and the one place where an error becomes an exit code."""

import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence

import click

from u2cut.cli.options import Ordered, with_crop_margin
from u2cut.errors import ExitCode, U2cutError
from u2cut.version import __version__

# Each command's module and its name there; only what is called is imported.
_COMMANDS = {
    "remove": ("cutout", "remove"),
    "mask": ("cutout", "mask"),
    "train": ("training", "train"),
    "eval": ("evaluation", "evaluate"),
    "export": ("export", "export"),
    "calibrate": ("export", "calibrate"),
    "report": ("report", "report"),
    "info": ("info", "info"),
    "bench": ("bench", "bench"),
    "weights": ("weights", "weights"),
}


def command_tree(arguments: Sequence[str] = ()) -> click.Group:
    """Return the commands, or only the one that the arguments ask for."""
    tree = Ordered(
        "u2cut",
        help="Cut the subject out of photos with U²-Net.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    version = click.version_option(
        __version__, message="u2cut %(version)s", help="Show the version."
    )
    version(tree)
    asked_for = arguments[0] if arguments else None
    for name in [asked_for] if asked_for in _COMMANDS else _COMMANDS:  # help lists all
        module, attribute = _COMMANDS[name]
        tree.add_command(getattr(importlib.import_module(f"u2cut.cli.{module}"), attribute), name)
    return tree


class _Interruption:
    """Ctrl-C, SIGTERM and a terminal that goes away; remembers, for click exits with 1 on it.

    A signal that was ignored at start (``nohup``, ``&`` in a script) stays so. The second one
    stops at once: results are whole even then, but some may be left half written beside them,
    under names of their own, for the next run to clear.
    """

    def __init__(self) -> None:
        self.happened = False
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        if self.happened:
            os._exit(ExitCode.INTERRUPTED)
        self.happened = True
        raise KeyboardInterrupt


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code.

    Args:
        arguments: What follows ``u2cut``; None reads ``sys.argv``.
    """
    interruption = _Interruption()
    try:
        arguments = with_crop_margin(sys.argv[1:] if arguments is None else arguments)
        command_tree(arguments).main(args=arguments, prog_name="u2cut")
    except SystemExit as e:
        if interruption.happened:
            return int(ExitCode.INTERRUPTED)
        return e.code if isinstance(e.code, int) else int(ExitCode.OK)
    except U2cutError as e:
        if str(e):
            with contextlib.suppress(OSError):  # a stderr that went away, with its terminal
                print(f"u2cut: error: {e}", file=sys.stderr)  # noqa: T201
        return int(e.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except Exception as e:
        if isinstance(e, OSError) and e.errno == errno.ENOSPC:  # click's own words, on a full disk
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or else Python tries again when it ends
            print(f"u2cut: error: stdout: {e.strerror}", file=sys.stderr)  # noqa: T201
            return int(ExitCode.OUTPUT)
        traceback.print_exc()
        return int(ExitCode.BUG)
