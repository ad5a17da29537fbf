"""A training config as a TOML file, both ways."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

import tomli_w

from u2cut.errors import DataError, printable
from u2cut.training.config import TrainConfig

_HINTS: Final = get_type_hints(TrainConfig)


def read_config(path: Path) -> dict[str, Any]:
    """Read a TOML file of options; its relative paths start at the working folder.

    Raises:
        DataError: It can't be read, or has an unknown key or a value of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
        unknown = sorted(table.keys() - _HINTS.keys())
        if unknown:
            raise ValueError(f"there is no option {unknown[0]!r}")
        return {key: _typed(value, _HINTS[key], key) for key, value in table.items()}
    except OSError as e:
        raise DataError.from_os(e, path, "can't be read") from e
    except ValueError as e:
        raise DataError(f"can't use this file of options: {printable(e)}", path=path) from e


def _typed(value: Any, kind: Any, key: str) -> Any:
    """Turn a TOML value into the type of its field."""
    if get_origin(kind) is list and isinstance(value, list):
        return [_typed(v, get_args(kind)[0], key) for v in value]
    if get_args(kind) and get_origin(kind) is not list:  # X | None: an absent key stands for None
        kind = get_args(kind)[0]
    plain: Any = {bool: bool, int: int, float: (int, float)}.get(kind, str)
    if get_origin(kind) is list or not isinstance(value, plain):
        raise ValueError(f"{key} = {value!r} is of the wrong type")
    if isinstance(value, bool) and kind is not bool:
        raise ValueError(f"{key} = {value!r} is of the wrong type")
    return kind(value)


def format_config(config: TrainConfig) -> str:
    """Write every field as TOML; ``read_config`` gives the same back."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    return tomli_w.dumps({k: _plain(v) for k, v in values.items() if v is not None})


def _plain(value: Any) -> Any:
    """Turn paths and choices into text, for TOML."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return value if isinstance(value, bool | int | float) else str(value)
