"""The network as an ONNX model."""

from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from u2cut.engines.torch_engine import FusedNetwork
from u2cut.export.graph import build
from u2cut.saliency import MEAN, STD
from u2cut.weights.registry import DEFAULT_INPUT_SIZE

_OPSET = 17
_IR_VERSION = 8  # onnx 1.12: what older runtimes read


def onnx_model(network: FusedNetwork) -> ModelProto:
    """Return the network: (B, 3, H, W) normalised RGB to (B, 1, H, W) probabilities, dynamic."""
    layers = _Layers()
    logits = build(network, layers, "photo")
    layers.nodes.append(helper.make_node("Sigmoid", [logits], ["map"]))
    graph = helper.make_graph(
        layers.nodes,
        "u2net",
        [helper.make_tensor_value_info("photo", TensorProto.FLOAT, ["batch", 3, "h", "w"])],
        [helper.make_tensor_value_info("map", TensorProto.FLOAT, ["batch", 1, "h", "w"])],
        initializer=layers.constants,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="u2cut"
    )
    said = {
        "input": "RGB, divided by the photo's maximum, then by mean and std; squashed to size",
        "mean": ",".join(f"{v:g}" for v in MEAN),
        "std": ",".join(f"{v:g}" for v in STD),
        "size": str(DEFAULT_INPUT_SIZE),
        "output": "probabilities; stretch each map to [0, 1]",
    }
    helper.set_model_props(model, said)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Layers:
    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def _node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _constant(self, name: str, value: Tensor) -> str:
        array = np.ascontiguousarray(value.detach().numpy())
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def convolution(self, x: str, layer: nn.Conv2d, name: str) -> str:
        assert layer.bias is not None
        return self._node(
            "Conv",
            x,
            self._constant(f"{name}.weight", layer.weight),
            self._constant(f"{name}.bias", layer.bias),
            kernel_shape=layer.kernel_size,
            pads=[*layer.padding, *layer.padding],
            dilations=layer.dilation,
        )

    def relu(self, x: str) -> str:
        return self._node("Relu", x)

    def pool(self, x: str) -> str:
        return self._node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)

    def upsample_to(self, x: str, like: str) -> str:
        batch_and_channels = self._node("Shape", x, start=0, end=2)
        size = self._node("Shape", like, start=2, end=4)
        sizes = self._node("Concat", batch_and_channels, size, axis=0)
        return self._node(
            "Resize",
            x,
            "",
            "",
            sizes,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def join(self, x: str, y: str) -> str:
        return self._node("Concat", x, y, axis=1)

    def add(self, x: str, y: str) -> str:
        return self._node("Add", x, y)
