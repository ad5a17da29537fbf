"""U²-Net: a two-level nested U of residual U-blocks.

Qin et al., "U²-Net: Going Deeper with Nested U-Structure for Salient Object Detection",
Pattern Recognition 106 (2020), arXiv:2005.09007, figures 2 and 5 and table 1. Attribute names
are those of the official checkpoints, so that these load with ``strict=True``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the paper's table 1.

    Attributes:
        name: Attribute name in the official checkpoints.
        height: L of RSU-L, or 4 for RSU-4F.
        dilated: True for RSU-4F, which dilates instead of pooling.
        channels: Input, middle and output channels (I, M, O).
    """

    name: str
    height: int
    dilated: bool
    channels: tuple[int, int, int]

    def dilation(self, level: int) -> int:
        """Return the dilation of the convolutions at a level of the U, counted from 1."""
        if self.dilated:
            return 1 << (level - 1)
        return 2 if level == self.height else 1

    def convolutions(self) -> Iterator[tuple[str, tuple[int, int], int]]:
        """Yield each convolution's name, input and output channels, dilation, in forward order."""
        i, m, o = self.channels
        yield "rebnconvin", (i, o), 1
        for level in range(1, self.height + 1):
            yield f"rebnconv{level}", (o if level == 1 else m, m), self.dilation(level)
        for level in range(self.height - 1, 0, -1):
            yield f"rebnconv{level}d", (2 * m, o if level == 1 else m), self.dilation(level)


@dataclass(frozen=True, slots=True)
class Variant:
    """The numbers that make a network, such as each of the paper's two."""

    name: str
    encoder: tuple[Stage, ...]
    decoder: tuple[Stage, ...]

    @property
    def channels(self) -> int:
        """Number of channels of the input."""
        return self.encoder[0].channels[0]


def _stages(names: Sequence[str], channels: Sequence[tuple[int, int, int]]) -> tuple[Stage, ...]:
    blocks = {"1": (7, False), "2": (6, False), "3": (5, False), "4": (4, False)}
    rows = []
    for name, (i, m, o) in zip(names, channels, strict=True):
        height, dilated = blocks.get(name[5], (4, True))
        rows.append(Stage(name, height, dilated, (i, m, o)))
    return tuple(rows)


_ENCODER = ("stage1", "stage2", "stage3", "stage4", "stage5", "stage6")
_DECODER = ("stage5d", "stage4d", "stage3d", "stage2d", "stage1d")

U2NET = Variant(
    "u2net",
    _stages(
        _ENCODER,
        [
            (3, 32, 64),
            (64, 32, 128),
            (128, 64, 256),
            (256, 128, 512),
            (512, 256, 512),
            (512, 256, 512),
        ],
    ),
    _stages(
        _DECODER,
        [(1024, 256, 512), (1024, 128, 256), (512, 64, 128), (256, 32, 64), (128, 16, 64)],
    ),
)
U2NETP = Variant(
    "u2netp",
    _stages(_ENCODER, [(3, 16, 64), *[(64, 16, 64)] * 5]),
    _stages(_DECODER, [(128, 16, 64)] * 5),
)
# Not the paper's: U²-Net† that sees a photo and three maps of it (`engines.refiner`).
REFINER = Variant(
    "refiner",
    _stages(_ENCODER, [(6, 16, 64), *[(64, 16, 64)] * 5]),
    U2NETP.decoder,
)
BATCH_NORM_EPSILON = 1e-5  # torch's default, which the published networks were trained with
VARIANTS = {v.name: v for v in (U2NET, U2NETP)}


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear resize of ``x`` to the height and width of ``like``."""
    if x.shape[-2:] == like.shape[-2:]:
        return x
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class ConvBNReLU(nn.Module):
    """3×3 convolution, batch norm, ReLU: the paper's basic block."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(out_channels)
        self.relu_s1 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, H, W)."""
        out: Tensor = self.relu_s1(self.bn_s1(self.conv_s1(x)))
        return out


class RSU(nn.Module):
    """Residual U-block, RSU-L or RSU-4F (figure 2d of the paper).

    A U of ``height`` convolutions runs on the block's own features F1(x), and its output is
    added to them: H(x) = U(F1(x)) + F1(x). RSU-L halves the resolution between its levels;
    RSU-4F dilates by 1, 2, 4, 8 instead and keeps it.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.height = stage.height
        self.dilated = stage.dilated
        for name, (i, o), dilation in stage.convolutions():
            self.add_module(name, ConvBNReLU(i, o, dilation))
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, I, H, W) to (B, O, H, W)."""
        x = self.get_submodule("rebnconvin")(x)
        skips = []
        h = x
        for level in range(1, self.height):
            # The lowest pair of an RSU-L shares one resolution, so there is no pool after it.
            if level > 1 and not self.dilated:
                h = self.pool(h)
            h = self.get_submodule(f"rebnconv{level}")(h)
            skips.append(h)
        h = self.get_submodule(f"rebnconv{self.height}")(h)
        for level in range(self.height - 1, 0, -1):
            skip = skips.pop()
            h = torch.cat((upsample_to(h, skip), skip), dim=1)
            h = self.get_submodule(f"rebnconv{level}d")(h)
        out: Tensor = h + x
        return out


class U2Net(nn.Module):
    """U²-Net with six side outputs and the fused map (figure 5 of the paper).

    Args:
        variant: ``U2NET`` (44,009,869 parameters), ``U2NETP`` (1,131,181) or ``REFINER``.
    """

    def __init__(self, variant: Variant = U2NET) -> None:
        super().__init__()
        self.variant = variant
        self.pool = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        for stage in (*variant.encoder, *variant.decoder):
            self.add_module(stage.name, RSU(stage))
        # Side 1 hangs on stage1d ... side 5 on stage5d, side 6 on stage6.
        heads = (*reversed(variant.decoder), variant.encoder[-1])
        for k, stage in enumerate(heads, start=1):
            self.add_module(f"side{k}", nn.Conv2d(stage.channels[2], 1, 3, padding=1))
        self.outconv = nn.Conv2d(6, 1, 1)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return what the six side outputs read, finest first.

        Args:
            x: Normalised RGB, (B, 3, H, W), H and W at least 32; the refiner's has six channels.

        Returns:
            stage1d (B, C, H, W) to stage5d at a sixteenth, then stage6 at a thirty-second.
        """
        skips = []
        h = x
        for stage in self.variant.encoder:
            h = self.get_submodule(stage.name)(h)
            skips.append(h)
            if stage is not self.variant.encoder[-1]:
                h = self.pool(h)
        skips.pop()
        features = [h]
        for stage in self.variant.decoder:
            skip = skips.pop()
            h = self.get_submodule(stage.name)(torch.cat((upsample_to(h, skip), skip), dim=1))
            features.append(h)
        return features[::-1]

    def side_outputs(self, x: Tensor) -> list[Tensor]:
        """Return the logits of the six side outputs, each at its own resolution, finest first."""
        return [self.get_submodule(f"side{k}")(f) for k, f in enumerate(self.features(x), start=1)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits of the fused map and of the six side outputs.

        Args:
            x: Normalised RGB, (B, 3, H, W), H and W at least 32, odd ones too.

        Returns:
            Seven tensors (B, 1, H, W): fused, side 1 ... side 6. Sigmoid gives probabilities.
        """
        sides = self.side_outputs(x)
        sides = [upsample_to(s, sides[0]) for s in sides]
        fused: Tensor = self.outconv(torch.cat(sides, dim=1))
        return (fused, *sides)
