"""The kind of a weights file, and the header of a .safetensors file, read without torch."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from u2cut.errors import WeightsError, printable

# The header of the larger network takes 80 KB; a lying length must not fill the memory.
MAX_HEADER = 4 << 20
ONNX_HEAD = b"\x08"
SAFETENSORS_MARK = b"{"  # behind eight bytes of the header's length
SMALLEST, LARGEST = 32, 4096


def is_onnx(path: Path) -> bool:
    """Return whether a file begins as ONNX files do: with field 1 of the model, a number.

    Raises:
        WeightsError: It is unreadable.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as e:
        raise WeightsError.from_os(e, path) from e
    return head.startswith(ONNX_HEAD) and head[8:] != SAFETENSORS_MARK


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts that the maker put in the header; empty for any other kind of file.

    Raises:
        WeightsError: The file can't be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(9)
            if len(head) < 9 or head[8:] != SAFETENSORS_MARK:
                return {}
            (length,) = struct.unpack("<Q", head[:8])
            if length > MAX_HEADER:
                return {}
            header = json.loads(head[8:] + file.read(length - 1))
    except OSError as e:
        raise WeightsError.from_os(e, path) from e
    except (ValueError, RecursionError):
        return {}  # not safetensors after all; loading it says what is wrong
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict):
        return {}
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def input_size(metadata: Mapping[str, str], path: Path) -> int | None:
    """Return the side of the square that the weights were trained for; None if unsaid.

    Raises:
        WeightsError: The entry isn't a size from 32 to 4096.
    """
    text = metadata.get("input_size")
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) < 6 and SMALLEST <= int(text) <= LARGEST:
        return int(text)
    raise WeightsError(
        f"input_size in its header is '{printable(text[:40])}', not a number from "
        f"{SMALLEST} to {LARGEST}",
        path=path,
    )
