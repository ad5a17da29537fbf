"""Commands made from dataclasses: each field is an option, declared once with its default."""

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import click
from click.shell_completion import CompletionItem

_Function = Callable[..., None]


class Ordered(click.Group):
    """Lists its commands as they were added."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the names."""
        return list(self.commands)


class Text(click.types.StringParamType):
    """Text as it is; the shell may complete it as a file's name."""

    def shell_complete(
        self, context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Leave it to the shell."""
        return [CompletionItem(incomplete, type="file")]


def takes(*groups: type) -> Callable[[_Function], _Function]:
    """Give a command the fields of dataclasses as options.

    The command's function takes an instance of each dataclass, positionally and in this order,
    and by name what else is declared for it.

    Args:
        groups: Dataclasses whose fields were described by ``u2cut.describe.option``.
    """

    def decorate(function: _Function) -> _Function:
        @functools.wraps(function)
        def command(**values: Any) -> None:
            made = [
                group(**{f.name: values.pop(f.name) for f in fields(group)}) for group in groups
            ]
            function(*made, **values)

        for group in reversed(groups):  # the last one declared comes first in the help
            hints = get_type_hints(group)
            for declared in reversed(fields(group)):
                _option(declared, hints[declared.name])(command)
        return command

    return decorate


def _option(declared: Field[Any], hint: Any) -> Callable[[_Function], _Function]:
    """Turn one field into an option."""
    described = declared.metadata
    several = get_origin(hint) is list
    kind = get_args(hint)[0] if get_args(hint) else hint  # of list[X] and X | None
    default: Any = declared.default
    if declared.default_factory is not MISSING:
        default = declared.default_factory()
    convert = described["parser"]
    if issubclass(kind, StrEnum):
        convert, default = kind, default and str(default)
    return click.option(
        *(described["flags"] or (f"--{declared.name.replace('_', '-')}",)),
        declared.name,
        help=described["help"],
        metavar=described["metavar"] or _metavar(kind),
        show_default=described["shown"] or True,
        default=default,
        multiple=several,
        is_flag=kind is bool,
        type=_type(kind, described),
        callback=functools.partial(_read, convert, several),
    )


def _type(kind: type, described: Mapping[str, Any]) -> "click.ParamType[Any]":
    """Return what checks and reads the option's text."""
    if described["parser"] is not None:
        return Text()
    if issubclass(kind, StrEnum):
        return click.Choice([str(value) for value in kind])
    if issubclass(kind, Path):
        return click.Path(path_type=Path)
    plain: dict[type, click.ParamType[Any]]
    plain = {int: click.INT, float: click.FLOAT, bool: click.BOOL, str: Text()}
    return plain[kind]


def _metavar(kind: type) -> str | None:
    """Name the value that an option takes by its type; None for a flag."""
    if issubclass(kind, StrEnum):
        return "|".join(kind)
    return {bool: None, int: "N", float: "X", str: "TEXT"}.get(kind, "PATH")


def _read(
    convert: Callable[[Any], Any] | None, several: bool, _: object, __: object, value: Any
) -> Any:
    """Finish a value: the parser's result is what the dataclass gets, and lists are lists."""
    if several:
        return [convert(v) if convert else v for v in value]
    return convert(value) if convert and value is not None else value


def with_crop_margin(arguments: Sequence[str]) -> list[str]:
    """Write a ``--crop`` without a margin as ``--crop=0``, so that it takes no photo for one."""
    complete: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--":
            return [*complete, argument, *rest]
        if argument == "--crop":
            margin = "0"
            if rest and re.fullmatch(r"\d+(\.\d+)?(px|%)?", rest[0]) and not Path(rest[0]).exists():
                margin = rest.pop(0)
            argument = f"--crop={margin}"
        complete.append(argument)
    return complete
