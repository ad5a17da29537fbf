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
from difflib import get_close_matches
from typing import Any, Final

import typer
import typer.main

from u2cut.cli.options import on_terminal, with_help
from u2cut.errors import ExitCode, OutputError, U2cutError, UsageError
from u2cut.version import __version__

# Each command's module, its function there, and its panel; only what is called is imported.
_COMMANDS: Final = {
    "remove": ("remove", "remove", "Photos"),
    "mask": ("mask", "mask", "Photos"),
    "watch": ("watch", "watch", "Photos"),
    "serve": ("serve", "serve", "Photos"),
    "report": ("report", "report", "Photos"),
    "manifest": ("manifest", "manifest", "Many machines"),
    "work": ("work", "work", "Many machines"),
    "train": ("train", "train", "Training"),
    "eval": ("evaluate", "evaluate", "Training"),
    "weights": ("weights", "weights", "Network"),
    "export": ("export", "export", "Network"),
    "calibrate": ("calibrate", "calibrate", "Network"),
    "info": ("info", "info", "Machine"),
    "bench": ("bench", "bench", "Machine"),
}
# What other tools call it.
_ELSEWHERE: Final = {
    "i": "u2cut remove photo.jpg -o cutout.png",
    "p": "u2cut remove photos/ -o cutouts/",
    "s": "u2cut serve",
    "b": "u2cut remove - < photo.jpg > cutout.png",
    "-a": "--matting best",
    "--alpha-matting": "--matting best",
    "-m": "--model",
    "-i": "the photo's name alone",
    "-om": "'u2cut mask'",
    "--only-mask": "'u2cut mask'",
    "-ppm": "--clean",
    "--post-process-mask": "--clean",
    "-bgc": "--background",
    "--bgcolor": "--background",
    "--gpu": "--device cuda",
    "--cuda": "--device cuda",
    "--color": "--background",
    "--bg": "--background",
    "--out": "--output",
    "--input": "the photo's name alone",
    "--threads": "--jobs",
    "--workers": "--jobs",
    "--force": "--overwrite",
}
_Click: Final[Any] = typer.BadParameter.__mro__[2]  # ClickException, whose click Typer brings


def command_tree(arguments: Sequence[str] = ()) -> Any:
    """Return the commands, or only the one that the arguments ask for, as Typer makes them."""
    app = typer.Typer(
        name="u2cut",
        help="Cut the subject out of photos with U²-Net.",
        no_args_is_help=True,
        rich_markup_mode="rich" if on_terminal() else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    asked_for = arguments[0] if arguments else None
    for name in [asked_for] if asked_for in _COMMANDS else _COMMANDS:  # help lists all
        module, attribute, panel = _COMMANDS[name]
        loaded = importlib.import_module(f"u2cut.cli.{module}")
        command = getattr(loaded, attribute)
        if isinstance(command, typer.Typer):
            for registered in command.registered_commands:
                if registered.callback is not None:
                    with_help(registered.callback)
            app.add_typer(command, name=name, rich_help_panel=panel)
        else:
            app.command(name, epilog=loaded.EXAMPLES, rich_help_panel=panel)(with_help(command))
    return typer.main.get_command(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"u2cut {__version__}")
        raise typer.Exit


def _root(
    *,
    version: bool = typer.Option(
        False, "--version", help="Show the version.", is_eager=True, callback=_show_version
    ),
) -> None:
    """Cut the subject out of photos with U²-Net."""


class _Interruption:
    """Ctrl-C, SIGTERM and a terminal that goes away; remembers, for Typer exits of its own.

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
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _refuse_unknown(words)
        code = command_tree(words).main(args=words, prog_name="u2cut", standalone_mode=False)
        if interruption.happened:
            return int(ExitCode.INTERRUPTED)
        return code if isinstance(code, int) else int(ExitCode.OK)
    except SystemExit as e:
        if interruption.happened:
            return int(ExitCode.INTERRUPTED)
        return e.code if isinstance(e.code, int) else int(ExitCode.OK)
    except U2cutError as e:
        _say(str(e))
        return int(e.exit_code)
    except _Click as e:
        _say(_explained(e))
        return int(ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return int(ExitCode.INTERRUPTED)
    except Exception as e:
        if isinstance(e, OSError) and e.errno == errno.ENOSPC:  # a help text, onto a full disk
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or else Python tries again when it ends
            _say(str(OutputError.from_os(e, "stdout")))
            return int(ExitCode.OUTPUT)
        traceback.print_exc()
        return int(ExitCode.BUG)


def _say(message: str) -> None:
    if message:
        with contextlib.suppress(OSError):  # a stderr that went away, with its terminal
            print(f"u2cut: error: {message}", file=sys.stderr)  # noqa: T201


def _refuse_unknown(words: Sequence[str]) -> None:
    """Answer a first word that is no command with what to type instead.

    Raises:
        UsageError: It is none.
    """
    if not words or words[0].startswith("-") or words[0] in _COMMANDS:
        return
    first = words[0]
    if os.path.lexists(first):
        raise UsageError(f"{first!r} is no command; to cut it out: u2cut remove {first}")
    if first in _ELSEWHERE:
        raise UsageError(f"there is no command {first!r}; type: {_ELSEWHERE[first]}")
    close = get_close_matches(first, _COMMANDS, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"commands: {', '.join(_COMMANDS)}"
    raise UsageError(f"there is no command {first!r}; {hint}")


def _explained(error: Any) -> str:
    """Return what Typer refused, and what to type instead."""
    message = str(error.format_message()).rstrip(".")
    option = getattr(error, "option_name", None)
    context: Any = getattr(error, "ctx", None)
    if option is not None and context is not None and hasattr(error, "possibilities"):
        known = [flag for p in context.command.params for flag in (*p.opts, *p.secondary_opts)]
        close = get_close_matches(option, known, n=1, cutoff=0.7)
        instead = _ELSEWHERE.get(option) or (close[0] if close else None)
        message = f"no such option: {option}" + (f"; did you mean {instead}?" if instead else "")
    if context is not None:
        message += f"\nsee: {context.command_path} --help"
    return message
