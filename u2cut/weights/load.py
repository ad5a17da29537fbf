"""A weight file from anyone becomes a network, or a ``WeightsError``; nothing in it is executed."""

import errno
import os
import pickletools
import stat
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import torch
from safetensors.torch import load_file
from torch import Tensor

from u2cut.errors import WeightsError, printable
from u2cut.model import REFINER, U2NET, U2NETP, U2Net, Variant
from u2cut.weights.metadata import SAFETENSORS_MARK, is_onnx
from u2cut.weights.registry import MAX_BYTES

_BETWEEN_THE_TWO = 7_000_000  # 1.1 and 44 million values
_LEGACY_PICKLES = 5  # a mark, a version, the machine, the tensors, their storages
_NAMED = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(
        f"{place} {kind}Storage"
        for place in ("torch", "torch.cuda")
        for kind in ("Half", "BFloat16", "Float", "Double", "Long")
    ),
}
SCALE = ".scale"  # of the refiner's 8-bit tensors: the name's ending
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def load_network(path: Path, *, channels: int = 3) -> U2Net:
    """Load either of the two networks from a ``.safetensors``, ``.pth`` or ``.onnx`` file.

    The tensors tell which network it is. The published ``.pth`` and ``.onnx`` files are read as
    they are; in the latter batch norm is folded, and comes out neutral. Half and double precision
    become fp32.

    Args:
        path: The file.
        channels: Of the input: 3, a photo; or 6, which is the refiner.

    Returns:
        The network on the CPU, in fp32 and in evaluation mode.

    Raises:
        WeightsError: The file can't be read, isn't exactly one of the two networks, or holds
            NaN, infinity or code.
    """
    state = _read(path)
    if channels == REFINER.channels:
        state = _from_8_bits(state)
    with torch.device("meta"):
        network = U2Net(REFINER if channels == REFINER.channels else _likely_variant(state))
    network.load_state_dict(_checked(state, network, path), strict=True, assign=True)
    return network.eval()


def _read(path: Path) -> Mapping[str, Tensor]:
    """Read the tensors of a file, by what it holds and not by its name."""
    name = printable(path)
    try:
        _refuse_size(path)
        if is_onnx(path):
            from u2cut.weights.onnx_import import read_onnx

            return {key: torch.from_numpy(array) for key, array in read_onnx(path).items()}
        with path.open("rb") as file:
            head = file.read(9)
        if head[8:] == SAFETENSORS_MARK:
            return load_file(path)
        if head.startswith(b"PK"):
            _refuse_zip(path)
        elif head.startswith(b"\x80"):
            with path.open("rb") as file:
                for _ in range(_LEGACY_PICKLES):
                    _refuse_code(file, name)
        else:
            raise WeightsError(
                f"{name}: not a .safetensors, .pth or .onnx file"
                + (" (it is empty)" if not head else "")
            )
        state = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except OSError as e:
        raise WeightsError.from_os(e, path) from e
    except Exception as e:  # the readers answer broken files with a dozen types
        raise _unreadable(e, path) from e
    if not isinstance(state, Mapping) or not all(isinstance(key, str) for key in state):
        raise WeightsError(f"{name}: not a dictionary of tensors by name")
    return state


def _unreadable(error: Exception, path: Path) -> WeightsError:
    """Translate a reader's exception: mostly the file's fault, but the machine has limits too.

    Torch says that files or memory have run out in the text of a ``RuntimeError`` only.
    """
    text = str(error)
    if os.strerror(errno.EMFILE) in text:
        return WeightsError.from_os(OSError(errno.EMFILE, os.strerror(errno.EMFILE)), path)
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return WeightsError("there isn't enough memory to load it", path=path)
    why = f"{type(error).__name__}: {printable(text[:200])}"
    return WeightsError(f"broken or truncated ({why})", path=path)


def _refuse_size(path: Path) -> None:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError("not a file, so it can't hold weights", path=path)
    if status.st_size > MAX_BYTES:
        raise WeightsError(
            f"{status.st_size:,} bytes are too many",
            path=path,
            remedy="the largest U²-Net has 176 million",
        )


def _refuse_zip(path: Path) -> None:
    """Refuse a zip bomb, and code in any of an archive's pickles."""
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
        if total > MAX_BYTES:
            raise WeightsError(f"unpacks to {total:,} bytes, too many for a U²-Net", path=path)
        for member in archive.infolist():
            if member.filename.endswith(".pkl"):
                with archive.open(member) as file:
                    _refuse_code(file, printable(path))


def _refuse_code(file: IO[bytes], name: str) -> None:
    """Read one pickle's instructions, and refuse it if it names what no state dict needs.

    ``weights_only`` would refuse code too, but lets types through that can ask for all memory.
    """
    for instruction, argument, _ in pickletools.genops(file):
        # STACK_GLOBAL takes the name from the stack; the writers of checkpoints don't use it.
        if instruction.name in ("GLOBAL", "INST", "STACK_GLOBAL") and argument not in _NAMED:
            named = printable(str(argument)[:200]).replace(" ", ".") if argument else "an object"
            raise WeightsError(
                f"{name}: refused, because it holds more than tensors of numbers: it asks for "
                f"{named}; code in weights is never run"
            )


def _from_8_bits(state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Multiply 8-bit tensors by the scales beside them, one for each output channel."""
    whole = {key: tensor for key, tensor in state.items() if not key.endswith(SCALE)}
    for key, tensor in whole.items():
        scale = state.get(key + SCALE)
        if scale is not None and tuple(scale.shape) == (tensor.shape[0], 1, 1, 1):
            whole[key] = tensor.float() * scale.float()
    return whole


def _likely_variant(state: Mapping[str, object]) -> Variant:
    """Tell the networks apart by their size: their tensors have the same names."""
    values = sum(tensor.numel() for tensor in state.values() if isinstance(tensor, Tensor))
    return U2NET if values > _BETWEEN_THE_TWO else U2NETP


def _checked(state: Mapping[str, Tensor], network: U2Net, path: Path) -> dict[str, Tensor]:
    """Return fp32 copies of the tensors, once names, shapes, types and values are right."""
    name = printable(path)
    expected = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    missing = [key for key in expected if key not in state]
    surplus = [key for key in state if key not in expected]
    if missing or surplus:
        faults = [
            f"{len(keys)} {word} ({_some(keys)})"
            for word, keys in (("missing", missing), ("surplus", surplus))
            if keys
        ]
        raise WeightsError(
            f"{name}: not the weights of U²-Net or U²-Net†; tensors: {'; '.join(faults)}"
        )
    wrong = [key for key, shape in expected.items() if _shape(state[key]) != shape]
    if wrong:
        raise WeightsError(
            f"{name}: {len(wrong)} tensors have the wrong shape ({_some(wrong)}); "
            f"{wrong[0]} is {_shape(state[wrong[0]])} where {expected[wrong[0]]} belongs"
        )
    return {key: _checked_tensor(state[key], key, name) for key in expected}


def _checked_tensor(tensor: Tensor, key: str, name: str) -> Tensor:
    counter = key.endswith("num_batches_tracked")
    if tensor.dtype not in ((torch.int64,) if counter else FLOATS):
        raise WeightsError(f"{name}: {key} holds {tensor.dtype}, which no weights are made of")
    # A copy shares memory neither with another tensor nor with the file, which may change.
    plain = tensor.detach().to(torch.int64 if counter else torch.float32, copy=True).contiguous()
    if not bool(torch.isfinite(plain).all()):
        raise WeightsError(f"{name}: {key} holds NaN or infinity; the file is damaged")
    return plain


def _shape(tensor: object) -> tuple[int, ...] | None:
    return tuple(tensor.shape) if isinstance(tensor, Tensor) else None


def _some(keys: Sequence[str]) -> str:
    return ", ".join(printable(key[:60]) for key in keys[:3]) + (", …" if len(keys) > 3 else "")
