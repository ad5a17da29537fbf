"""Typer commands made from options classes: each field is an option, declared once."""

import ast
import functools
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, TextIO, Union, get_args, get_origin, get_type_hints

import typer

from u2cut.describe import Options
from u2cut.imaging.formats import Format

_Function = Callable[..., None]


def on_terminal(stream: TextIO | None = None) -> bool:
    """Tell whether a stream, by default stdout, is a terminal.

    Then help is drawn by Rich; else it is plain lines.
    """
    stream = stream or sys.stdout
    return stream is not None and stream.isatty()


def text(words: str) -> str:
    """Return a help text in which Rich takes no bracket for markup."""
    return words.replace("[", r"\[") if on_terminal() else words


def examples(*lines: str) -> str:
    """Return the end of a command's help: commands to copy."""
    return "\n\n".join(["Examples:", *(text(line) for line in lines)])


def weights_names(incomplete: str) -> list[str]:
    """Complete the name of weights."""
    from u2cut.weights import registry

    return [name for name in ("auto", *registry.names()) if name.startswith(incomplete)]


def _devices(incomplete: str) -> list[str]:
    names = ("auto", "cpu", "cuda", "cuda:0", "cuda:all", "mps")
    return [name for name in names if name.startswith(incomplete)]


def _formats(incomplete: str) -> list[str]:
    return [name for name in Format if name.startswith(incomplete)]


_COMPLETE: Final[Mapping[str, Callable[[str], list[str]]]] = {
    "model": weights_names,
    "init": weights_names,
    "distill": weights_names,
    "device": _devices,
    "format": _formats,
}

Json = Annotated[bool, typer.Option("--json", help="Write JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say what is used and why, and what is done.")
]
Photos = Annotated[list[Path] | None, typer.Argument(metavar="[PHOTOS]...", show_default=False)]


def takes(
    *groups: type[Options], without: Collection[str] = (), as_values: bool = False
) -> Callable[[_Function], _Function]:
    """Give a command the fields of options classes as options.

    The command's function takes an instance of each class, positionally and in this order, and
    by name what else is declared for it.

    Args:
        groups: Classes whose fields were described by ``u2cut.describe.option``.
        without: Fields that make no sense for this command; they keep their defaults.
        as_values: The function takes a dictionary for each class instead, not checked yet.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            made = [
                (dict if as_values else group)(
                    **{f.name: values.pop(f.name) for f in fields(group) if f.name in values}
                )
                for group in groups
            ]
            function(*made, **values)

        with_help(command)
        own = [
            parameter
            for parameter in inspect.signature(function, eval_str=True).parameters.values()
            if parameter.kind is parameter.KEYWORD_ONLY
        ]
        declared = [
            parameter
            for group in groups
            for parameter in _parameters(group)
            if parameter.name not in without
        ]
        del command.__dict__["__wrapped__"]
        signature = inspect.Signature([*own, *declared])
        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        return command

    return decorate


def with_help(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its help back, which ``python -OO`` takes away with all docstrings."""
    if command.__doc__ is None:
        source = textwrap.dedent(inspect.getsource(command))
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.FunctionDef)
        command.__doc__ = ast.get_docstring(body)
    return command


def _parameters(group: type[Options]) -> Iterator[inspect.Parameter]:
    """Turn the fields of an options class into parameters that Typer reads."""
    hints, panel = get_type_hints(group), None
    for declared in fields(group):
        panel = group.PANELS.get(declared.name, panel)
        yield inspect.Parameter(
            declared.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(declared),
            annotation=_annotation(declared, hints[declared.name], panel),
        )


def _default(declared: Field[Any]) -> Any:
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    return declared.default


def _annotation(declared: Field[Any], hint: Any, panel: str | None) -> Any:
    """Return a field's type with its option's description."""
    described = declared.metadata
    kind = hint
    if get_origin(hint) in (Union, types.UnionType):
        kind = next(one for one in get_args(hint) if one is not type(None))
    item = get_args(kind)[0] if get_origin(kind) is list else kind
    if described["parser"] is not None:  # the options class reads it
        kind = item = str
    option = typer.Option(
        *(described["flags"] or (f"--{declared.name.replace('_', '-')}",)),
        help=text(described["help"]),
        metavar=described["metavar"] or _metavar(item),
        show_default=described["shown"] or item is not bool,
        rich_help_panel=panel,
        autocompletion=_COMPLETE.get(declared.name),
    )
    return Annotated[kind | None if hint is not kind else kind, option]


def _metavar(kind: type) -> str | None:
    """Name the value that an option takes by its type; None for a flag."""
    if issubclass(kind, StrEnum):
        return "|".join(kind)
    return {bool: None, int: "N", float: "X", str: "TEXT"}.get(kind, "PATH")
