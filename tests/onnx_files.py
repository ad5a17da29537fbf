"""ONNX files such as the authors' networks were published in, made of any network's tensors."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from u2cut.model import Variant
from u2cut.weights.onnx_import import expected_convolutions


def write_onnx(state, variant: Variant, path: Path, *, folded: bool = True) -> Path:
    """Write the convolutions in the order of the forward pass, with numbered tensors.

    Args:
        state: Official tensors, as numpy arrays.
        variant: Which of the two networks they are.
        path: The file.
        folded: Batch norm is folded into the convolutions; else it follows each as a layer.
    """
    nodes, tensors = [], []

    def tensor(value) -> str:
        name = str(1000 + len(tensors))
        tensors.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    for number, (label, shape, dilation) in enumerate(expected_convolutions(variant)):
        stage = "." in label
        key = f"{label}.conv_s1" if stage else label
        weight, bias = state[f"{key}.weight"], state[f"{key}.bias"]
        norm = {}
        if stage:
            parts = ("weight", "bias", "running_mean", "running_var")
            norm = {part: state[f"{label}.bn_s1.{part}"].astype(np.float64) for part in parts}
        if stage and folded:
            scale = norm["weight"] / np.sqrt(norm["running_var"] + 1e-5)
            weight = weight * scale[:, None, None, None]
            bias = (bias - norm["running_mean"]) * scale + norm["bias"]
        out = f"conv{number}"
        nodes.append(
            helper.make_node(
                "Conv",
                [f"x{number}", tensor(weight), tensor(bias)],
                [out],
                name=f"Conv_{number}",
                dilations=[dilation, dilation],
                group=1,
                kernel_shape=list(shape[2:]),
                pads=[dilation * (shape[2] // 2)] * 4,
                strides=[1, 1],
            )
        )
        if stage and not folded:
            names = [tensor(norm[part]) for part in parts]
            nodes.append(
                helper.make_node("BatchNormalization", [out, *names], [f"n{number}"], epsilon=1e-5)
            )
            out = f"n{number}"
        nodes.append(helper.make_node("Relu", [out], [f"x{number + 1}"]))
    return save(path, nodes, tensors)


def save(path: Path, nodes, tensors) -> Path:
    graph = helper.make_graph(nodes, "torch-jit-export", [], [], initializer=tensors)
    opset = [helper.make_opsetid("", 11)]
    path.write_bytes(helper.make_model(graph, opset_imports=opset).SerializeToString())
    return path


def edit(path: Path, change) -> Path:
    """Let ``change(model)`` alter a file."""
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path
