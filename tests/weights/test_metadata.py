"""What a .safetensors file says of itself, and how little is believed."""

import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from u2cut.errors import WeightsError
from u2cut.weights.metadata import MAX_HEADER, input_size, read_metadata


def test_the_makers_texts_are_read(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(3)}, path, metadata={"input_size": "192", "note": "hello"})
    assert read_metadata(path) == {"input_size": "192", "note": "hello"}


def with_header(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        with_header(b"{}"),
        with_header(b"{broken"),
        with_header(b"{}", length=(1 << 64) - 1),
        with_header(b'{"__metadata__": [1]}'),
        with_header(b'{"a":' * 50_000),
        with_header(b'{"__metadata__": {"input_size": "192"}}'.ljust(MAX_HEADER + 1)),
    ],
    ids=range(9),
)
def test_a_file_without_readable_texts_has_none(content, tmp_path):
    path = tmp_path / "w"
    path.write_bytes(content)
    assert read_metadata(path) == {}


def test_what_is_not_text_is_left_out(tmp_path):
    path = tmp_path / "w"
    path.write_bytes(with_header(json.dumps({"__metadata__": {"a": 1, "b": "c"}}).encode()))
    assert read_metadata(path) == {"b": "c"}


def test_an_unreadable_file_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="missing: No such file"):
        read_metadata(tmp_path / "missing")


def test_an_input_size_may_be_left_unsaid(tmp_path):
    assert input_size({}, tmp_path) is None
    assert input_size({"input_size": "288"}, tmp_path) == 288


@pytest.mark.parametrize(
    "text", ["", "0", "31", "4097", "-320", "320.0", "1e3", "٣٢٠", "9" * 5000, "a\x1b[2J"]
)
def test_an_impossible_input_size_is_an_error(text, tmp_path):
    with pytest.raises(WeightsError, match="not a number from 32 to 4096") as caught:
        input_size({"input_size": text}, tmp_path)
    assert "\x1b" not in str(caught.value)
