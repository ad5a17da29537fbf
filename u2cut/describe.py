"""Options declared once: dataclass fields that carry their limits, and check them when built.

The command line, the Python API and configs build the same classes, so a wrong value is the
same ``UsageError`` everywhere. The command line makes its options from them
(``u2cut.cli.options``). Nothing heavy is imported here.
"""

import math
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final, Union, get_args, get_origin, get_type_hints

from u2cut.errors import UsageError, printable

_HINTS: Final[dict[type, dict[str, Any]]] = {}


def option(
    help: str,
    *flags: str,
    metavar: str | None = None,
    min: float | None = None,
    max: float | None = None,
    parser: Callable[[str], object] | None = None,
    shown: str | None = None,
) -> Mapping[str, object]:
    """Describe a field for the command line, as its dataclass metadata.

    Args:
        help: Text of ``--help``.
        flags: Names, if not the field's own with dashes.
        metavar: Name of the value.
        min: Least value.
        max: Largest value.
        parser: Reads the value from text.
        shown: What ``--help`` shows for the default.
    """
    return {
        "help": help,
        "flags": flags,
        "metavar": metavar,
        "min": min,
        "max": max,
        "parser": parser,
        "shown": shown,
    }


class Options:
    """Base of the options classes, frozen dataclasses of fields described by ``option``.

    Values are brought to their field's type (text to a choice or a path) and checked when an
    instance is made, then the rules between fields.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]
    # The panels of the help: which one begins at which field.
    PANELS: ClassVar[Mapping[str, str]] = {}

    def __post_init__(self) -> None:
        """Check every field, then the rules.

        Raises:
            UsageError: A value is of the wrong type, no choice, or out of its limits; or fields
                contradict each other.
        """
        hints = _hints(type(self))
        for declared in fields(self):
            if declared.metadata:
                value = getattr(self, declared.name)
                checked = _checked(value, hints[declared.name], declared)
                if checked is not value:
                    object.__setattr__(self, declared.name, checked)
        self.check()

    def check(self) -> None:
        """Refuse fields that contradict each other; for subclasses to extend.

        Raises:
            UsageError: They do.
        """


def chosen(*groups: Options, leave_out: Collection[str] = ()) -> dict[str, str]:
    """Return what options differ from their defaults, as flags and values.

    Args:
        groups: The options.
        leave_out: Names of fields that don't count.
    """
    found: dict[str, str] = {}
    for group in groups:
        usual = type(group)()
        for declared in fields(group):
            value = getattr(group, declared.name)
            if (
                declared.metadata
                and declared.name not in leave_out
                and value != getattr(usual, declared.name)
            ):
                found[flag(declared)] = str(value)
    return found


def take(given: dict[str, Any], kind: type[Options]) -> dict[str, Any]:
    """Take the fields of a class of options out of what was given by name."""
    return {f.name: given.pop(f.name) for f in fields(kind) if f.name in given}


def flag(declared: Field[Any]) -> str:
    """Return the name of a field's option, as ``--name``."""
    named = declared.metadata["flags"]
    long = next((f for f in named if f.startswith("--")), f"--{declared.name.replace('_', '-')}")
    return str(long.split("/")[0])


def _hints(kind: type) -> dict[str, Any]:
    if kind not in _HINTS:
        _HINTS[kind] = get_type_hints(kind)
    return _HINTS[kind]


def _checked(value: Any, hint: Any, declared: Field[Any]) -> Any:
    """Return a value in the type of its field.

    Raises:
        UsageError: It has no place there.
    """
    if get_origin(hint) is list:
        if not isinstance(value, list | tuple):
            raise _refused(declared, value, "a list")
        item = get_args(hint)[0]
        checked = [_checked(one, item, declared) for one in value]
        return value if checked == value else checked
    if get_origin(hint) in (Union, types.UnionType):
        if value is None:
            return None
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    parser = declared.metadata["parser"]
    if parser is not None:
        return parser(value) if isinstance(value, str) else value
    if issubclass(hint, StrEnum):
        if value not in list(hint):
            raise _refused(declared, value, f"one of {', '.join(hint)}")
        return hint(value)
    if issubclass(hint, Path):
        if not isinstance(value, str | Path):
            raise _refused(declared, value, "a path")
        return Path(value)
    if hint is bool or hint is str:
        if not isinstance(value, hint):
            raise _refused(declared, value, "true or false" if hint is bool else "a text")
        return value
    return _number(value, hint, declared)


def _number(value: Any, hint: type, declared: Field[Any]) -> Any:
    """Return a number that is within its field's limits."""
    kind = "a whole number" if hint is int else "a number"
    low, high = declared.metadata["min"], declared.metadata["max"]
    if low is not None:
        kind += f" from {low:g} to {high:g}" if high is not None else f" of at least {low:g}"
    plain = (int,) if hint is int else (int, float)
    good = isinstance(value, plain) and not isinstance(value, bool) and math.isfinite(value)
    if not good or (low is not None and value < low) or (high is not None and value > high):
        raise _refused(declared, value, kind)
    return value


def _refused(declared: Field[Any], value: Any, wanted: str) -> UsageError:
    return UsageError(f"{flag(declared)} {printable(str(value))}: give {wanted}")
