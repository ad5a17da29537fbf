"""Commands made from dataclasses: each field is an option, declared once with its default."""

import functools
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer


def takes(*groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the fields of dataclasses as options.

    The command's function declares its arguments itself (each may be left out: None), and then
    takes an instance of each dataclass, positionally after them, in this order.

    Args:
        groups: Dataclasses whose fields were described by ``u2cut.describe.option``.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[: -len(groups)]
        options = [_parameter(group, f) for group in groups for f in fields(group)]

        @functools.wraps(function)
        def command(**values: Any) -> None:
            arguments = [values.pop(p.name) for p in own]
            made = [group(**{f.name: values[f.name] for f in fields(group)}) for group in groups]
            function(*arguments, *made)

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [p.replace(kind=keyword, default=None) for p in own] + options
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _parameter(group: type, declared: Field[Any]) -> inspect.Parameter:
    """Turn one field into a parameter that Typer understands."""
    described = declared.metadata
    hint = get_type_hints(group)[declared.name]
    flags = described["flags"] or (f"--{declared.name.replace('_', '-')}",)
    settings: dict[str, Any] = {
        "help": described["help"],
        "metavar": described["metavar"] or _metavar(hint),
        "show_default": described["shown"] or True,
    }
    if described["parser"] is not None:
        hint = str | None  # the parser's result is what the dataclass gets
        settings["callback"] = _reader(described["parser"])
    else:
        settings |= {"min": described["min"], "max": described["max"]}
    default: Any = declared.default
    if declared.default_factory is not MISSING:
        default = declared.default_factory()
    return inspect.Parameter(
        declared.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[hint, typer.Option(*flags, **settings)],
    )


def _metavar(hint: Any) -> str | None:
    """Name the value that an option takes by its type; None for a flag."""
    kinds = [kind for kind in (get_args(hint) or (hint,)) if isinstance(kind, type)]
    for kind in kinds:
        if issubclass(kind, StrEnum):
            return "|".join(kind)
    names = {bool: None, int: "N", float: "X", str: "TEXT", Path: "PATH"}
    return next((names[kind] for kind in kinds if kind in names), None)


def _reader(parse: Callable[[str], object]) -> Callable[[str | None], object]:
    def read(text: str | None) -> object:
        return None if text is None else parse(text)

    return read


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
