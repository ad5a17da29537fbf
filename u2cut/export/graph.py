"""The network layer by layer, for whoever builds a graph of it: OpenVINO, ONNX.

Their own converters trace the torch module, which takes ten times as long, freezes what depends
on the size, and (OpenVINO's) reports its use to a server.
"""

from typing import Protocol, TypeVar

from torch import nn

from u2cut.engines.torch_engine import FusedNetwork
from u2cut.model import RSU, ConvBNReLU

T = TypeVar("T")


class Layers(Protocol[T]):
    """The few layers that U²-Net is made of; ``T`` is a node's output, (B, C, H, W)."""

    def convolution(self, x: T, layer: nn.Conv2d, name: str) -> T:
        """Convolve with a layer's weights and bias."""

    def relu(self, x: T) -> T:
        """Clip at 0."""

    def pool(self, x: T) -> T:
        """Take the maximum of 2×2, the last row and column alone where they are odd."""

    def upsample_to(self, x: T, like: T) -> T:
        """Resize bilinearly as `model.upsample_to` does."""

    def join(self, x: T, y: T) -> T:
        """Concatenate the channels."""

    def add(self, x: T, y: T) -> T:
        """Add, element by element."""


def build(network: FusedNetwork, layers: Layers[T], photo: T) -> T:
    """Lay the network's layers over a photo.

    Args:
        network: The weights; `FusedNetwork.forward` is what is built, without the sigmoid.
        layers: Makes the nodes. Names are the checkpoint's.
        photo: Normalised RGB, (B, 3, H, W).

    Returns:
        Logits of the fused map, (B, 1, H, W).
    """
    u2net = network.network
    skips: list[T] = []
    h = photo
    for stage in u2net.variant.encoder:
        h = _rsu(layers, h, stage.name, u2net.get_submodule(stage.name))
        skips.append(h)
        if stage is not u2net.variant.encoder[-1]:
            h = layers.pool(h)
    skips.pop()
    features = [h]
    for stage in u2net.variant.decoder:
        skip = skips.pop()
        joined = layers.join(layers.upsample_to(h, skip), skip)
        h = _rsu(layers, joined, stage.name, u2net.get_submodule(stage.name))
        features.append(h)
    sides = []
    for k, feature in enumerate(reversed(features), start=1):
        layer = u2net.get_submodule(f"side{k}")
        assert isinstance(layer, nn.Conv2d)
        sides.append(layers.convolution(feature, layer, f"side{k}"))
    fused = sides[0]
    for side in sides[1:]:
        fused = layers.add(fused, layers.upsample_to(side, sides[0]))
    return fused


def _rsu(layers: Layers[T], x: T, name: str, block: nn.Module) -> T:
    """Repeat `model.RSU.forward`."""
    assert isinstance(block, RSU)

    def convolve(h: T, suffix: str) -> T:
        basic = block.get_submodule(f"rebnconv{suffix}")
        assert isinstance(basic, ConvBNReLU)
        return layers.relu(layers.convolution(h, basic.conv_s1, f"{name}.rebnconv{suffix}"))

    x = convolve(x, "in")
    skips: list[T] = []
    h = x
    for level in range(1, block.height):
        if level > 1 and not block.dilated:
            h = layers.pool(h)
        h = convolve(h, str(level))
        skips.append(h)
    h = convolve(h, str(block.height))
    for level in range(block.height - 1, 0, -1):
        skip = skips.pop()
        h = convolve(layers.join(layers.upsample_to(h, skip), skip), f"{level}d")
    return layers.add(h, x)
