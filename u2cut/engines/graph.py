"""The network as an OpenVINO graph, built layer by layer.

OpenVINO's own converter traces the torch module, which takes ten times as long, and it reports
its use to a server; this does neither.
"""

import openvino as ov
import openvino.opset13 as ops
from openvino import Node, Output, Type
from torch import nn

from u2cut.engines.torch import FusedNetwork
from u2cut.model import RSU, ConvBNReLU


def build(network: FusedNetwork) -> ov.Model:
    """Build the graph: (B, 3, H, W) normalised RGB to (B, 1, H, W) probabilities, all dynamic.

    Nodes carry the layers' names in the checkpoint.
    """
    photo = ops.parameter([-1, 3, -1, -1], Type.f32, name="photo")
    skips = []
    u2net = network.network
    h: Output = photo.output(0)
    for stage in u2net.variant.encoder:
        h = _rsu(h, stage.name, u2net.get_submodule(stage.name))
        skips.append(h)
        if stage is not u2net.variant.encoder[-1]:
            h = _pool(h)
    skips.pop()
    features = [h]
    for stage in u2net.variant.decoder:
        joined = _join(h, skips.pop())
        h = _rsu(joined, stage.name, u2net.get_submodule(stage.name))
        features.append(h)
    sides = [
        _convolution(f, f"side{k}", u2net.get_submodule(f"side{k}"))
        for k, f in enumerate(reversed(features), start=1)
    ]
    fused = sides[0]
    for side in sides[1:]:
        fused = ops.add(fused, _upsample_to(side, sides[0])).output(0)
    result = _named(ops.sigmoid(fused), "map")
    result.set_names({"map"})
    photo.output(0).set_names({"photo"})
    return ov.Model([result], [photo], "u2net")


def _rsu(x: Output, name: str, block: nn.Module) -> Output:
    """Repeat `model.RSU.forward`."""
    assert isinstance(block, RSU)

    def convolve(h: Output, suffix: str) -> Output:
        layer = block.get_submodule(f"rebnconv{suffix}")
        assert isinstance(layer, ConvBNReLU)
        h = _convolution(h, f"{name}.rebnconv{suffix}", layer.conv_s1)
        return ops.relu(h).output(0)

    x = convolve(x, "in")
    skips = []
    h = x
    for level in range(1, block.height):
        if level > 1 and not block.dilated:
            h = _pool(h)
        h = convolve(h, str(level))
        skips.append(h)
    h = convolve(h, str(block.height))
    for level in range(block.height - 1, 0, -1):
        h = convolve(_join(h, skips.pop()), f"{level}d")
    return ops.add(h, x).output(0)


def _convolution(x: Output, name: str, layer: nn.Module) -> Output:
    assert isinstance(layer, nn.Conv2d)
    assert layer.bias is not None
    weight = ops.constant(layer.weight.detach().contiguous().numpy(), dtype=Type.f32)
    bias = ops.constant(layer.bias.detach().numpy().reshape(1, -1, 1, 1), dtype=Type.f32)
    padding = list(layer.padding)
    h = ops.convolution(x, weight, list(layer.stride), padding, padding, list(layer.dilation))
    h.set_friendly_name(name)
    return ops.add(h, bias).output(0)


def _pool(x: Output) -> Output:
    pooled = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], rounding_type="ceil")
    return pooled.output(0)


def _join(h: Output, skip: Output) -> Output:
    return ops.concat([_upsample_to(h, skip), skip], 1).output(0)


def _upsample_to(x: Output, like: Output) -> Output:
    """Repeat `model.upsample_to`."""
    size = ops.gather(ops.shape_of(like), [2, 3], 0)
    return ops.interpolate(
        x,
        size,
        mode="linear_onnx",
        shape_calculation_mode="sizes",
        coordinate_transformation_mode="half_pixel",
        axes=[2, 3],
    ).output(0)


def _named(node: Node, name: str) -> Output:
    node.set_friendly_name(name)
    return node.output(0)
