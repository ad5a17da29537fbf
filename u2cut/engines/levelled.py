"""Near-constant channels taken down to near zero, for precisions of few digits.

In the published U²-Net† a channel inside stage 2d is 226 to 228 on every photo, and the next
layer takes it away again with its bias: in bf16, whose step is 1 at 200, that costs the map its
sharpness (IoU -.006, and with int8's single scale for a whole layer -.17). Such a channel, whose
bias outweighs all that its weights can do, never meets the ReLU, so its level can be moved into
the next layer's bias without changing the network. Only along the border, where that layer saw
the level end, is there something left to add.
"""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn

from u2cut.model import RSU, ConvBNReLU, U2Net

_LEAST: Final = 4.0  # a bias below this costs no precision
_OUTWEIGHED: Final = 20.0  # the bias, over the sum of the weights that could lower it
_ROOM: Final = 10.0  # inputs of this size can't bring the channel down to the ReLU


class LevelledConv(nn.Conv2d):
    """A convolution of which some input channels lack their level; it adds what that changes.

    Args:
        layer: As it was.
        levels: What its input channels lack, (C,) in fp32.
    """

    def __init__(self, layer: nn.Conv2d, levels: Tensor) -> None:
        super().__init__(
            layer.in_channels,
            layer.out_channels,
            kernel_size=3,
            padding=layer.dilation[0],  # as all 3×3 layers of U²-Net have it
            dilation=layer.dilation[0],
        )
        assert layer.bias is not None
        assert self.bias is not None
        self.weight.copy_(layer.weight)
        # Not a buffer: it stays in fp32 when the network doesn't.
        self._kernel = (layer.weight.double() * levels[:, None, None]).sum(1, keepdim=True)
        self.bias.copy_(layer.bias + self._kernel.sum((1, 2, 3)))
        self._edges: dict[tuple[int, int], Tensor] = {}

    def edges(self, height: int, width: int) -> Tensor:
        """What is to be added for the levels that end at the border, (1, C, H, W) in fp32.

        Zero but for a rim as wide as the padding.
        """
        inside = torch.ones((1, 1, height, width), dtype=torch.float64)
        seen = nn.functional.conv2d(
            inside, self._kernel, padding=self.padding, dilation=self.dilation
        )
        return (seen - self._kernel.sum((1, 2, 3))[:, None, None]).float()

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, (B, C, H, W)."""
        y = super().forward(x)
        size = (y.shape[-2], y.shape[-1])
        if size not in self._edges:
            rim = self.edges(*size)
            self._edges[size] = rim.to(y).contiguous(memory_format=torch.channels_last)
        return y.add_(self._edges[size])


def level(network: U2Net) -> None:
    """Take the levels out of a network whose batch norm is folded, in place."""
    with torch.no_grad():
        for block in network.modules():
            if isinstance(block, RSU):
                for first, second in _pairs(block):
                    _move(first, second)


def levelled(network: U2Net) -> Iterator[tuple[str, LevelledConv]]:
    """Yield the layers that `level` has changed, by the names of `export.graph.build`."""
    for name, layer in network.named_modules():
        if isinstance(layer, LevelledConv):
            yield name.removesuffix(".conv_s1"), layer


def _pairs(block: RSU) -> Iterator[tuple[ConvBNReLU, ConvBNReLU]]:
    """The layers of a decoder's way up: each is read by the next one alone, scaled up."""
    for height in range(block.height - 1, 1, -1):
        first, second = (block.get_submodule(f"rebnconv{k}d") for k in (height, height - 1))
        assert isinstance(first, ConvBNReLU)
        assert isinstance(second, ConvBNReLU)
        yield first, second


def _move(first: ConvBNReLU, second: ConvBNReLU) -> None:
    conv, reader = first.conv_s1, second.conv_s1
    assert conv.bias is not None
    lowering = -conv.weight.clamp(max=0).sum((1, 2, 3))
    constant = (conv.bias > _LEAST) & (conv.bias > _OUTWEIGHED * lowering)
    if not constant.any():
        return
    level = torch.where(constant, conv.bias - _ROOM * lowering, 0)
    conv.bias -= level
    levels = torch.zeros(reader.in_channels)
    levels[: len(level)] = level  # the first of its channels; the others are the way down's
    second.conv_s1 = LevelledConv(reader, levels)
