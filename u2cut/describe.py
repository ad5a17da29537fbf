"""Fields of option dataclasses, described for the command line (``u2cut.cli.options``)."""

from collections.abc import Callable, Mapping


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
        parser: Reads the value.
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
