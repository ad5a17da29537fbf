"""The network as an OpenVINO model."""

from collections.abc import Callable

import openvino as ov
import openvino.opset13 as ops
from openvino import Output, Type
from torch import Tensor, nn

from u2cut.engines.torch_engine import FusedNetwork
from u2cut.export.graph import build


def openvino_model(network: FusedNetwork) -> ov.Model:
    """Return the network: (B, 3, H, W) normalised RGB to (B, 1, H, W) probabilities, dynamic."""
    photo = ops.parameter([-1, 3, -1, -1], Type.f32, name="photo")
    photo.output(0).set_names({"photo"})
    saliency = ops.sigmoid(build(network, _Layers(), photo.output(0)))
    saliency.set_friendly_name("map")
    saliency.output(0).set_names({"map"})
    return ov.Model([saliency.output(0)], [photo], "u2net")


def add_to_layer(model: ov.Model, name: str, what: Callable[[int, int], Tensor]) -> None:
    """Add a constant to a convolution's output, after its bias.

    Args:
        model: Of static shape; changed.
        name: The layer's.
        what: Makes the constant, (1, C, H, W) in fp32, of H and W.
    """
    (layer,) = (op for op in model.get_ops() if op.get_friendly_name() == name)
    (biased,) = layer.output(0).get_target_inputs()
    output = biased.get_node().output(0)
    readers = output.get_target_inputs()
    height, width = tuple(output.shape)[2:]
    added = ops.add(output, ops.constant(what(height, width).numpy(), dtype=Type.f32))
    for reader in readers:
        reader.replace_source_output(added.output(0))


class _Layers:
    def convolution(self, x: Output, layer: nn.Conv2d, name: str) -> Output:
        assert layer.bias is not None
        weight = ops.constant(layer.weight.detach().contiguous().numpy(), dtype=Type.f32)
        bias = ops.constant(layer.bias.detach().numpy().reshape(1, -1, 1, 1), dtype=Type.f32)
        padding = list(layer.padding)
        h = ops.convolution(x, weight, list(layer.stride), padding, padding, list(layer.dilation))
        h.set_friendly_name(name)
        return ops.add(h, bias).output(0)

    def relu(self, x: Output) -> Output:
        return ops.relu(x).output(0)

    def pool(self, x: Output) -> Output:
        h = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], rounding_type="ceil")
        return h.output(0)

    def upsample_to(self, x: Output, like: Output) -> Output:
        h = ops.interpolate(
            x,
            ops.gather(ops.shape_of(like), [2, 3], 0),
            mode="linear_onnx",
            shape_calculation_mode="sizes",
            coordinate_transformation_mode="half_pixel",
            axes=[2, 3],
        )
        return h.output(0)

    def join(self, x: Output, y: Output) -> Output:
        return ops.concat([x, y], 1).output(0)

    def add(self, x: Output, y: Output) -> Output:
        return ops.add(x, y).output(0)
