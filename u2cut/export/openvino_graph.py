"""The network as an OpenVINO model."""

from collections.abc import Callable

import numpy as np
import openvino as ov
import openvino.opset13 as ops
from numpy.typing import NDArray
from openvino import Output, Type
from torch import Tensor, nn

from u2cut.engines.torch_engine import FusedNetwork
from u2cut.export.graph import build

_HUGE = 1e38  # of what a map holds nothing is larger


def openvino_model(network: FusedNetwork) -> ov.Model:
    """Return the network: (B, 3, H, W) normalised RGB to (B, 1, H, W) probabilities, dynamic.

    The refiner's input has six channels.
    """
    channels = network.network.variant.channels
    photo = ops.parameter([-1, channels, -1, -1], Type.f32, name="photo")
    photo.output(0).set_names({"photo"})
    saliency = ops.sigmoid(build(network, _Layers(), photo.output(0)))
    saliency.set_friendly_name("map")
    saliency.output(0).set_names({"map"})
    return ov.Model([saliency.output(0)], [photo], "u2net")


def add_rim(model: ov.Model, name: str, what: Callable[[int, int], Tensor], width: int) -> None:
    """Add a constant that is zero but for a rim to a convolution's output, after its bias.

    OpenVINO makes whole maps of what is known beforehand: 34 MB of zeros in U²-Net†. So it is to
    compare the map with limits that are met in the rim's rows alone, which it can't know.

    Args:
        model: Of static shape; changed.
        name: The layer's.
        what: Makes the constant, (1, C, H, W) in fp32, of H and W.
        width: The rim's, in pixels; along a side all its rows (columns) are equal.
    """
    (layer,) = (op for op in model.get_ops() if op.get_friendly_name() == name)
    (biased,) = layer.output(0).get_target_inputs()
    output = biased.get_node().output(0)
    readers = output.get_target_inputs()
    rim = what(*tuple(output.shape)[2:]).numpy()
    height = rim.shape[2]
    if height <= 2 * width:  # too small for a middle
        added = ops.add(output, _constant(rim)).output(0)
    else:
        columns = rim[:, :, [height // 2]]
        added = ops.add(output, _constant(columns)).output(0)
        some = ops.slice(output, [0, 0], [1, height], [1, 1], [1, 2])
        some = ops.slice(some, [0], [1], [1], [3])
        for rows in (slice(None, width), slice(height - width, None)):
            limit = np.full((1, 1, height, 1), -_HUGE)
            limit[:, :, rows] = _HUGE
            here = ops.convert(ops.less(some, _constant(limit)), Type.f32)
            missing = _constant(rim[:, :, rows][:, :, :1] - columns)
            added = ops.add(added, ops.multiply(here, missing)).output(0)
    for reader in readers:
        reader.replace_source_output(added)


def _constant(values: NDArray[np.floating]) -> Output:
    return ops.constant(values, dtype=Type.f32).output(0)


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
