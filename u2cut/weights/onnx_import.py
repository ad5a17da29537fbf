"""ONNX files of U²-Net: read as data, and turned into tensors under the official names.

The published ONNX files have their batch norm folded into the convolutions and their tensors
numbered, so tensors are told apart by the order of the convolutions, which is that of the
forward pass. Shapes, dilations and the kinds of layers must all be U²-Net's. Nothing is run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from u2cut.errors import WeightsError, printable
from u2cut.model import BATCH_NORM_EPSILON, VARIANTS, Variant

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Arrays = dict[str, NDArray[Any]]

SIDES = ("side1", "side2", "side3", "side4", "side5", "side6")
FUSION = "outconv"

# Layers, then what exporters compute the sizes of an upsampling with.
_LAYERS = {"Conv", "BatchNormalization", "Relu", "MaxPool", "Concat", "Add", "Resize", "Upsample"}
_ARITHMETIC = {
    *("Sigmoid", "Constant", "ConstantOfShape", "Identity", "Shape", "Gather", "Slice", "Cast"),
    *("Unsqueeze", "Squeeze", "Floor", "Mul", "Div", "Reshape"),
}
_LARGEST_CONSTANT = 16  # values: sizes and scales of an upsampling; no layer's tensor is smaller


@dataclass(frozen=True, slots=True)
class Convolution:
    """A convolution, with the batch norm behind it if the file has one.

    Attributes:
        weight: (O, I, K, K) float32.
        bias: (O,) float32.
        dilation: Step of the kernel, the same in both directions.
        norm: Scale, shift, mean and variance, (O,) float32 each; None if it is folded.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    dilation: int
    norm: tuple[NDArray[np.float32], ...] | None


def read_onnx(path: Path) -> Arrays:
    """Return the tensors of an ONNX file of U²-Net or U²-Net†, under the official names.

    A folded batch norm becomes a neutral one: weight 1, bias 0, mean 0, variance 1 - 1e-5.

    Raises:
        WeightsError: The file is broken, or holds another network; says what it holds.
        OSError: It can't be read.
    """
    model = _parse(path)
    name = printable(path)
    _refuse_strangers(model, name)
    convolutions = list(_convolutions(model.graph, name))
    return _named(convolutions, name)


def _parse(path: Path) -> "ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        # Tensors in other files stay unread: a path in a file from a stranger isn't followed.
        return onnx.load(path, format="protobuf", load_external_data=False)
    except DecodeError as e:
        raise WeightsError("broken or truncated, not a whole ONNX file", path=path) from e


def _refuse_strangers(model: "ModelProto", name: str) -> None:
    """Refuse what no export of U²-Net holds."""
    graph = model.graph
    if not graph.node:
        raise WeightsError(f"{name}: broken or truncated, an ONNX file without any layer")
    for tensor in graph.initializer:
        if tensor.data_location == tensor.EXTERNAL:
            raise WeightsError(
                f"{name}: keeps its tensors in other files (external data), which are not read; "
                "save it as one file"
            )
    foreign = {f"{n.domain}.{n.op_type}" for n in graph.node if n.domain not in ("", "ai.onnx")}
    if foreign or model.functions:
        foreign |= {f"{f.domain}.{f.name}" for f in model.functions}
        raise WeightsError(
            f"{name}: asks for custom operators ({_some(sorted(foreign))}), which are never loaded"
        )
    unknown = {node.op_type for node in graph.node} - _LAYERS - _ARITHMETIC
    if unknown:
        raise WeightsError(
            f"{_not_u2net(name, _count(graph))}; it has layers of other kinds: "
            f"{_some(sorted(unknown))}"
        )


def _count(graph: "GraphProto") -> str:
    number = sum(node.op_type == "Conv" for node in graph.node)
    return f"{number} convolutions and {len(graph.initializer)} tensors"


def _not_u2net(name: str, found: str) -> str:
    return (
        f"{name}: not the weights of U²-Net or U²-Net†: found {found}, expected "
        f"{len(expected_convolutions(VARIANTS['u2net']))} convolutions, each with weight and bias"
    )


def _convolutions(graph: "GraphProto", name: str) -> Iterator[Convolution]:
    """Yield the convolutions in the file's order.

    Raises:
        WeightsError: One lacks its tensors, or tensors belong to no convolution.
    """
    constants = _constants(graph)
    norms = {n.input[0]: n for n in graph.node if n.op_type == "BatchNormalization"}
    used: set[str] = set()

    def tensor(key: str, layer: str) -> NDArray[np.float32]:
        if key not in constants:
            raise WeightsError(f"{name}: {printable(layer)} has no tensor '{printable(key)}'")
        used.add(key)
        return _array(constants[key], name)

    for node in graph.node:
        if node.op_type != "Conv":
            continue
        label = node.name or node.output[0]
        if len(node.input) not in (2, 3):
            raise WeightsError(f"{name}: {printable(label)} has {len(node.input)} inputs, not 3")
        weight = tensor(node.input[1], label)
        bias = (
            tensor(node.input[2], label)
            if len(node.input) == 3
            else np.zeros(weight.shape[:1], np.float32)
        )
        attributes = _attributes(node)
        if attributes.get("group", 1) != 1 or set(attributes.get("strides", [1])) != {1}:
            raise WeightsError(
                f"{name}: {printable(label)} strides or is grouped, which none of U²-Net does"
            )
        norm = None
        if (behind := norms.get(node.output[0])) is not None:
            scale, shift, mean, variance = (tensor(key, label) for key in behind.input[1:5])
            epsilon = _attributes(behind).get("epsilon", BATCH_NORM_EPSILON)
            norm = (scale, shift, mean, variance + np.float32(epsilon - BATCH_NORM_EPSILON))
        dilations = attributes.get("dilations", [1, 1])
        yield Convolution(weight, bias, max(dilations, default=1), norm)
    surplus = [
        key
        for key, proto in constants.items()
        if key not in used and int(np.prod(proto.dims, dtype=np.int64)) > _LARGEST_CONSTANT
    ]
    if surplus:
        raise WeightsError(f"{_not_u2net(name, _count(graph))}; surplus tensors: {_some(surplus)}")


def _constants(graph: "GraphProto") -> "dict[str, TensorProto]":
    """Return every tensor of the file by name, wherever the exporter put it."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            values = (a.t for a in node.attribute if a.name == "value")
            found.update((node.output[0], value) for value in values)
        elif node.op_type == "Identity" and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def _array(tensor: "TensorProto", name: str) -> NDArray[np.float32]:
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(tensor)
    except Exception as e:  # onnx answers lying shapes with several types
        raise WeightsError(f"{name}: the tensor '{printable(tensor.name)}' is broken") from e
    if array.dtype.kind in "iub":
        raise WeightsError(
            f"{name}: '{printable(tensor.name)}' holds {array.dtype}, which no weights are made of"
        )
    if not np.isfinite(array).all():
        raise WeightsError(
            f"{name}: '{printable(tensor.name)}' holds NaN or infinity; it is damaged"
        )
    return np.array(array, np.float32, order="C")  # a copy, because the file's is read-only


def _attributes(node: "NodeProto") -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def expected_convolutions(variant: Variant) -> list[tuple[str, tuple[int, ...], int]]:
    """Return each convolution's official name, weight shape and dilation, in forward order."""
    rows: list[tuple[str, tuple[int, ...], int]] = []
    for stage in (*variant.encoder, *variant.decoder):
        for block, (i, o), dilation in stage.convolutions():
            rows.append((f"{stage.name}.{block}", (o, i, 3, 3), dilation))
    heads = (*reversed(variant.decoder), variant.encoder[-1])
    for side, stage in zip(SIDES, heads, strict=True):
        rows.append((side, (1, stage.channels[2], 3, 3), 1))
    rows.append((FUSION, (1, len(SIDES), 1, 1), 1))
    return rows


def _named(convolutions: Sequence[Convolution], name: str) -> Arrays:
    """Give the convolutions of a file their official names, once they fit one of the networks."""
    rows = expected_convolutions(VARIANTS["u2netp"])
    if len(convolutions) == len(rows) - 1 and convolutions[-1].weight.shape[2:] == (3, 3):
        # `u2cut export` folds the fusion layer into the side outputs; what it leaves is a sum.
        ones = np.ones((1, len(SIDES), 1, 1), np.float32)
        convolutions = [*convolutions, Convolution(ones, np.zeros(1, np.float32), 1, None)]
    if len(convolutions) != len(rows):
        found = f"{len(convolutions)} convolutions"
        raise WeightsError(_not_u2net(name, found))
    faults = []
    for variant in VARIANTS.values():
        rows = expected_convolutions(variant)
        fault = _difference(convolutions, rows)
        if fault is None:
            return _state(convolutions, rows)
        faults.append(fault)
    place, problem = max(faults)  # of the network that it agrees with for longer
    raise WeightsError(
        f"{name}: not the weights of U²-Net or U²-Net†: convolution {place}, {problem}"
    )


def _difference(
    convolutions: Sequence[Convolution], rows: Sequence[tuple[str, tuple[int, ...], int]]
) -> tuple[int, str] | None:
    """Say which convolution is the first that differs from the network's, and how."""
    for place, (found, (label, shape, dilation)) in enumerate(
        zip(convolutions, rows, strict=True), start=1
    ):
        if found.weight.shape != shape or found.bias.shape != shape[:1]:
            return place, f"{label}, has shape {found.weight.shape} where {shape} is expected"
        if found.dilation != dilation:
            return place, f"{label}, is dilated by {found.dilation} where {dilation} is expected"
        if found.norm is not None and any(part.shape != shape[:1] for part in found.norm):
            return place, f"{label}, has a batch norm of another width"
    return None


def _state(
    convolutions: Sequence[Convolution], rows: Sequence[tuple[str, tuple[int, ...], int]]
) -> Arrays:
    state: Arrays = {}
    for found, (label, shape, _) in zip(convolutions, rows, strict=True):
        if "." not in label:
            state |= {f"{label}.weight": found.weight, f"{label}.bias": found.bias}
            continue
        neutral = (
            np.ones(shape[0], np.float32),
            np.zeros(shape[0], np.float32),
            np.zeros(shape[0], np.float32),
            np.full(shape[0], 1 - BATCH_NORM_EPSILON, np.float32),
        )
        norm = found.norm or neutral
        state |= {f"{label}.conv_s1.weight": found.weight, f"{label}.conv_s1.bias": found.bias}
        for key, value in zip(("weight", "bias", "running_mean", "running_var"), norm, strict=True):
            state[f"{label}.bn_s1.{key}"] = value
        state[f"{label}.bn_s1.num_batches_tracked"] = np.zeros((), np.int64)
    return state


def _some(names: Sequence[str]) -> str:
    return ", ".join(printable(name[:60]) for name in names[:3]) + (", …" if len(names) > 3 else "")
