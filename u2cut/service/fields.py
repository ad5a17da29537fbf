"""A request's fields: named like the command line's options, and checked by the same classes."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar, get_args, get_type_hints

from u2cut.describe import Options
from u2cut.errors import UsageError, printable
from u2cut.options import (
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    MaskOptions,
    OutputOptions,
    Product,
    RenderOptions,
)

Group = TypeVar("Group", bound=Options)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
# Options that are the server's, or about files on its disk.
_NOT_HERE: Final = frozenset(
    ("output", "overwrite", "skip_existing", "keep_ending", "background_image")
)


def known(groups: Sequence[type[Options]]) -> dict[str, str]:
    """Return the fields that a route takes, and what each is."""
    return {
        declared.name: str(declared.metadata["help"])
        for group in groups
        for declared in fields(group)
        if declared.metadata and declared.name not in _NOT_HERE
    }


REMOVE: Final = (OutputOptions, CutoutOptions, CanvasOptions, EdgeOptions)
MASK: Final = (OutputOptions, MaskOptions, CanvasOptions, EdgeOptions)


def render_options(
    given: Mapping[str, str], render: RenderOptions, output: OutputOptions, *, mask: bool
) -> tuple[RenderOptions, OutputOptions]:
    """Put the fields of a request over the server's own options.

    Args:
        given: The fields; ``-`` and ``_`` are the same in their names.
        render: The server's.
        output: The server's.
        mask: Whether a mask is wanted, and not a cutout.

    Raises:
        UsageError: A field is unknown, or its value won't do.
    """
    named = {name.replace("-", "_"): value for name, value in given.items()}
    groups = MASK if mask else REMOVE
    unknown = sorted(named.keys() - known(groups).keys())
    if unknown:
        raise UsageError(f"there is no field {printable(unknown[0])}")
    edge, canvas = _changed(render.edge, named), _changed(render.canvas, named)
    output = _changed(output, named)
    if mask:
        kind = _changed(MaskOptions(), named)
        made = RenderOptions(kind.product, invert=kind.invert, edge=edge, canvas=canvas)
    else:
        cutout = _changed(_without_background(render.cutout, named), named)
        made = RenderOptions(Product.CUTOUT, edge=edge, cutout=cutout, canvas=canvas)
    return made, output


def _without_background(cutout: CutoutOptions, named: Mapping[str, str]) -> CutoutOptions:
    """Let a request's background take the place of the server's."""
    if not named.keys() & {"background", "background_blur"}:
        return cutout
    return replace(cutout, background=None, background_image=None, background_blur=None)


def _changed(options: Group, named: Mapping[str, str]) -> Group:
    hints = get_type_hints(type(options))
    changes = {
        declared.name: _from_text(named[declared.name], hints[declared.name], declared.name)
        for declared in fields(options)
        if declared.metadata and declared.name in named and declared.name not in _NOT_HERE
    }
    return replace(options, **changes)


def _from_text(text: str, hint: Any, name: str) -> Any:
    """Turn a field's text into the type of its option; texts with a syntax are parsed later."""
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
    kind = kinds[0]
    if kind is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise UsageError(f"{name}: {printable(text)} is neither true nor false")
        return text.lower() in _TRUE
    if kind in (int, float) and not text.strip().endswith("%"):
        try:
            return kind(text)
        except ValueError as e:
            raise UsageError(f"{name}: {printable(text)} is no number") from e
    return text
