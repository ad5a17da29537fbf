"""The command tree, and the one place where an error becomes an exit code."""

import contextlib
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from u2cut import __version__
from u2cut.cli.bench import bench
from u2cut.cli.cutout import mask, remove, with_crop_margin
from u2cut.cli.evaluation import evaluate
from u2cut.cli.export import calibrate, export
from u2cut.cli.info import info
from u2cut.cli.report import report
from u2cut.cli.training import train
from u2cut.cli.weights import weights
from u2cut.errors import ExitCode, U2cutError

app = typer.Typer(
    name="u2cut",
    help="Cut the subject out of photos with U²-Net.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"u2cut {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


app.command()(remove)
app.command()(mask)
app.command()(train)
app.command("eval")(evaluate)
app.command()(export)
app.command()(calibrate)
app.command()(report)
app.command()(info)
app.command()(bench)
app.add_typer(weights)


class _Interruption:
    """Ctrl-C, SIGTERM and a terminal that goes away; remembers, for Typer exits with 1 on it.

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
        code = app(args=arguments, prog_name="u2cut", standalone_mode=True)
    except SystemExit as e:
        code = ExitCode.INTERRUPTED if interruption.happened else e.code
    except U2cutError as e:
        if str(e):
            with contextlib.suppress(OSError):  # a stderr that went away, with its terminal
                print(f"u2cut: error: {e}", file=sys.stderr)  # noqa: T201
        return int(e.exit_code)
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    except Exception as e:
        if isinstance(e, OSError) and e.errno == errno.ENOSPC:  # Typer's own words, on a full disk
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or else Python tries again when it ends
            print(f"u2cut: error: stdout: {e.strerror}", file=sys.stderr)  # noqa: T201
            return int(ExitCode.OUTPUT)
        traceback.print_exc()
        return int(ExitCode.BUG)
    return code if isinstance(code, int) else int(ExitCode.OK)
