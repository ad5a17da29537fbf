"""Weights from strangers: either of the two networks, or a refusal that says why."""

import json
import os
import pickle
import random
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from u2cut.errors import WeightsError
from u2cut.model import U2NETP, VARIANTS, U2Net
from u2cut.weights.load import load_network
from u2cut.weights.registry import MAX_BYTES, bundled_path


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return U2Net(U2NETP).eval()


@pytest.fixture
def state(network):
    return OrderedDict((key, tensor.clone()) for key, tensor in network.state_dict().items())


def saved(state, path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=path.suffix == ".pth")
    return path


def safetensors_bytes(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "legacy.pt", "no-ending"])
def test_every_accepted_kind_of_file_gives_the_same_network(name, network, state, tmp_path):
    loaded = load_network(saved(state, tmp_path / name))
    assert loaded.variant is U2NETP
    assert not loaded.training
    for (key, tensor), expected in zip(loaded.state_dict().items(), state.values(), strict=True):
        assert torch.equal(tensor, expected), key
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded(x)[0], network(x)[0])


def test_the_larger_network_is_recognised_by_its_tensors(tmp_path):
    large = U2Net(VARIANTS["u2net"])
    loaded = load_network(saved(large.state_dict(), tmp_path / "u2netp.safetensors"))
    assert loaded.variant.name == "u2net"


def test_the_bundled_weights_load():
    assert load_network(bundled_path("u2netp")).variant is U2NETP


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_widened_to_fp32(dtype, state, tmp_path):
    other = {k: t.to(dtype) if t.is_floating_point() else t for k, t in state.items()}
    loaded = load_network(saved(other, tmp_path / "w.safetensors"))
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for (key, tensor), expected in zip(loaded.state_dict().items(), state.values(), strict=True):
        assert torch.allclose(tensor, expected, rtol=1e-2, atol=1e-2), key


def test_a_loaded_network_no_longer_depends_on_its_file(state, tmp_path):
    path = saved(state, tmp_path / "w.safetensors")
    loaded = load_network(path)
    before = loaded.outconv.weight.clone()
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(loaded.outconv.weight, before)


class Malice:
    """Touches a file when a careless reader unpickles it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch '{self.target}'",)


@pytest.mark.parametrize("kind", ["plain pickle", "legacy", "zip"])
def test_a_pickle_with_code_is_refused_and_never_executed(kind, state, tmp_path):
    touched, path = tmp_path / "touched", tmp_path / "w.pth"
    state["outconv.bias"] = Malice(touched)
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(dict(state=Malice(touched)), protocol=2))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(
        WeightsError,
        match=r"holds more than tensors .* (posix|nt)\.system; code in weights is never run",
    ):
        load_network(path)
    assert not touched.exists()
    # The trap is a real one: a careless reader does fall into it.
    torch.load(path, weights_only=False) if kind != "plain pickle" else pickle.loads(
        path.read_bytes()
    )
    assert touched.exists()


def test_a_whole_pickled_module_is_refused(network, tmp_path):
    torch.save(network, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"asks for (u2cut\.model\.U2Net|torch\.)"):
        load_network(tmp_path / "w.pth")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "w.pth"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("archive/data/0", "w", force_zip64=True) as member,
    ):
        for _ in range(MAX_BYTES // (1 << 20) + 1):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 10_000_000
    with pytest.raises(WeightsError, match=r"unpacks to [\d,]+ bytes, too many"):
        load_network(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "w.pth"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(WeightsError, match="400,000,001 bytes are too many"):
        load_network(path)


@pytest.mark.parametrize("bomb", ["bytearray", "tensor", "storage"])
def test_a_pickle_that_asks_for_all_memory_is_refused(bomb, tmp_path):
    size = 1 << 50
    path = tmp_path / "w.pth"
    if bomb == "storage":
        state = {"x": torch.zeros(1).expand(size)}
        torch.save(state, path)  # a petabyte of stride 0
    else:
        # More than any machine has, but not so much that the mere request would fail.
        size = 1 << 37
        name = b"cbuiltins\nbytearray\n" if bomb == "bytearray" else b"ctorch\nFloatTensor\n"
        path.write_bytes(b"\x80\x02" + name + b"\x8a\x08" + struct.pack("<q", size) + b"\x85R.")
    with pytest.raises(WeightsError):
        load_network(path)


HUGE = 1 << 62
LIES = {
    "header longer than the file": safetensors_bytes(b"{}", length=1 << 20),
    "header of all memory": safetensors_bytes(b"{}", length=(1 << 64) - 1),
    "header not JSON": safetensors_bytes(b"{nonsense!"),
    "header nested without end": safetensors_bytes(b'{"a":' * 100_000),
    "data beyond the end": safetensors_bytes(
        {"a": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}, bytes(8)
    ),
    "shape that overflows": safetensors_bytes(
        {"a": {"dtype": "F32", "shape": [HUGE, HUGE], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "shape that disagrees": safetensors_bytes(
        {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "negative offsets": safetensors_bytes(
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, bytes(4)
    ),
    "overlapping tensors": safetensors_bytes(
        {k: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for k in "ab"}, bytes(4)
    ),
    "unknown type": safetensors_bytes(
        {"a": {"dtype": "X9", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_safetensors_header_that_lies_is_refused(lie, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(LIES[lie])
    with pytest.raises(WeightsError, match=r"w\.safetensors: broken or truncated"):
        load_network(path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "legacy.pt"])
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(name, part, state, tmp_path):
    path = saved(state, tmp_path / name)
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(WeightsError, match=name):
        load_network(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"<!DOCTYPE html>", b"\x89PNG\r\n\x1a\n" + bytes(99), b"PK\x03\x04", b"\x80"],
)
def test_what_is_no_weight_file_is_refused(content, tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"w\.pth: (not a|broken)"):
        load_network(path)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        load_network(tmp_path / "missing.pth")
    with pytest.raises(WeightsError, match="not a file"):
        load_network(tmp_path)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(WeightsError, match="not a file"):
        load_network(tmp_path / "pipe.pth")


def test_missing_and_surplus_tensors_are_counted_and_named(state, tmp_path):
    del state["side6.bias"]
    del state["outconv.bias"]
    state["decoder.weight"] = torch.zeros(1)
    with pytest.raises(WeightsError) as caught:
        load_network(saved(state, tmp_path / "w.safetensors"))
    assert "2 missing (side6.bias, outconv.bias); 1 surplus (decoder.weight)" in str(caught.value)


def test_many_faults_are_named_in_a_few_words(tmp_path):
    path = saved({f"layer{k}\x1b[2J": torch.zeros(1) for k in range(500)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"798 missing .*; 500 surplus \(") as caught:
        load_network(path)
    assert len(str(caught.value)) < 600
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("wrap", [lambda s: {"model": s}, lambda s: list(s), lambda s: {1: s}, len])
def test_a_wrapped_checkpoint_is_refused(wrap, state, tmp_path):
    with pytest.raises(WeightsError, match=r"missing|not a dictionary"):
        load_network(saved(wrap(state), tmp_path / "w.pth"))


def test_keys_with_a_prefix_are_refused_not_renamed(state, tmp_path):
    prefixed = {f"module.{key}": tensor for key, tensor in state.items()}
    with pytest.raises(WeightsError, match=r"798 missing .* 798 surplus \(module\."):
        load_network(saved(prefixed, tmp_path / "w.safetensors"))


def test_a_wrong_shape_is_named(state, tmp_path):
    state["side1.weight"] = torch.zeros(2, 64, 3, 3)
    with pytest.raises(
        WeightsError, match=r"side1\.weight is \(2, 64, 3, 3\) where \(1, 64, 3, 3\)"
    ):
        load_network(saved(state, tmp_path / "w.safetensors"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e300])
def test_numbers_that_are_none_are_refused(value, state, tmp_path):
    state["side1.weight"] = torch.full((1, 64, 3, 3), value, dtype=torch.float64)
    with pytest.raises(WeightsError, match=r"side1\.weight holds NaN or infinity"):
        load_network(saved(state, tmp_path / "w.safetensors"))


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.int64])
def test_tensors_of_another_kind_of_number_are_refused(dtype, state, tmp_path):
    state["side1.weight"] = torch.zeros(1, 64, 3, 3, dtype=dtype)
    with pytest.raises(WeightsError, match=rf"side1\.weight holds {dtype}"):
        load_network(saved(state, tmp_path / "w.safetensors"))


@pytest.mark.parametrize(
    "intruder",
    [
        torch.zeros(1, 64, 3, 3).to_sparse(),
        torch.zeros(1, 64, 3, 3, device="meta"),
        torch.zeros(1, 64, 3, 3, dtype=torch.complex64),
        torch.device("cpu"),
        {1, 2},
        [1.0],
        "text",
    ],
    ids=["sparse", "meta", "complex", "device", "set", "list", "text"],
)
def test_what_is_no_plain_tensor_is_refused(intruder, state, tmp_path):
    state["side1.weight"] = intruder
    with pytest.raises(WeightsError, match=r"more than tensors|side1\.weight is None"):
        load_network(saved(state, tmp_path / "w.pth"))


def test_names_are_escaped_in_messages(tmp_path):
    path = tmp_path / "a\nb\x1b[31m.pth"
    path.write_bytes(b"rubbish")
    with pytest.raises(WeightsError, match=r"a\\nb\\x1b\[31m\.pth: not a"):
        load_network(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth", "legacy.pt"])
def test_mutated_files_load_or_are_refused(name, state, tmp_path):
    original = saved(state, tmp_path / name).read_bytes()
    dice = random.Random(name)
    refused = 0
    for _ in range(300):
        mutant = bytearray(original)
        # Mostly where the structure is: the beginning, and the directory at a zip's end.
        for _ in range(dice.choice([1, 3, 30])):
            end = dice.random() < 0.3
            at = len(mutant) - 1 - dice.randrange(90_000) if end else dice.randrange(90_000)
            mutant[at] = dice.randrange(256)
        (tmp_path / name).write_bytes(mutant)
        try:
            load_network(tmp_path / name)
        except WeightsError:
            refused += 1
    assert refused > 50
