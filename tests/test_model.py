"""The network against the paper's table and an independent forward pass."""

import pytest
import torch
import torch.nn.functional as F

from u2cut.model import U2NET, U2NETP, VARIANTS, U2Net

# Table 1 of arXiv:2005.09007: block, and its input, middle and output channels.
PUBLISHED = {
    "u2net": {
        "stage1": ("RSU-7", 3, 32, 64),
        "stage2": ("RSU-6", 64, 32, 128),
        "stage3": ("RSU-5", 128, 64, 256),
        "stage4": ("RSU-4", 256, 128, 512),
        "stage5": ("RSU-4F", 512, 256, 512),
        "stage6": ("RSU-4F", 512, 256, 512),
        "stage5d": ("RSU-4F", 1024, 256, 512),
        "stage4d": ("RSU-4", 1024, 128, 256),
        "stage3d": ("RSU-5", 512, 64, 128),
        "stage2d": ("RSU-6", 256, 32, 64),
        "stage1d": ("RSU-7", 128, 16, 64),
    },
    "u2netp": {
        "stage1": ("RSU-7", 3, 16, 64),
        "stage2": ("RSU-6", 64, 16, 64),
        "stage3": ("RSU-5", 64, 16, 64),
        "stage4": ("RSU-4", 64, 16, 64),
        "stage5": ("RSU-4F", 64, 16, 64),
        "stage6": ("RSU-4F", 64, 16, 64),
        "stage5d": ("RSU-4F", 128, 16, 64),
        "stage4d": ("RSU-4", 128, 16, 64),
        "stage3d": ("RSU-5", 128, 16, 64),
        "stage2d": ("RSU-6", 128, 16, 64),
        "stage1d": ("RSU-7", 128, 16, 64),
    },
}
SIDE_CHANNELS = {"u2net": (64, 64, 128, 256, 512, 512), "u2netp": (64,) * 6}
PARAMETERS = {"u2net": 44_009_869, "u2netp": 1_131_181}


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of an official checkpoint, as the paper's table implies it."""
    shapes: dict[str, tuple[int, ...]] = {}
    for stage, (block, i, m, o) in PUBLISHED[name].items():
        height = int(block[4])
        convolutions = {"in": (i, o), "1": (o, m), f"{height}": (m, m), "1d": (2 * m, o)}
        for level in range(2, height):
            convolutions[f"{level}"] = (m, m)
            convolutions[f"{level}d"] = (2 * m, m)
        for suffix, (inputs, outputs) in convolutions.items():
            prefix = f"{stage}.rebnconv{suffix}"
            shapes[f"{prefix}.conv_s1.weight"] = (outputs, inputs, 3, 3)
            shapes[f"{prefix}.conv_s1.bias"] = (outputs,)
            for field in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{prefix}.bn_s1.{field}"] = (outputs,)
            shapes[f"{prefix}.bn_s1.num_batches_tracked"] = ()
    for k, channels in enumerate(SIDE_CHANNELS[name], start=1):
        shapes[f"side{k}.weight"] = (1, channels, 3, 3)
        shapes[f"side{k}.bias"] = (1,)
    shapes["outconv.weight"] = (1, 6, 1, 1)
    shapes["outconv.bias"] = (1,)
    return shapes


def random_network(variant, seed=0):
    """A network whose batch norms are not neutral, so that a wrong order of layers shows."""
    generator = torch.Generator().manual_seed(seed)
    network = U2Net(variant).eval()
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_mean", "bn_s1.bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
        elif key.endswith(("running_var", "bn_s1.weight")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network


class PublishedForward:
    """The published forward pass on a plain dictionary of tensors, without any module."""

    def __init__(self, name, state):
        self.blocks = PUBLISHED[name]
        self.state = state

    def block(self, x, prefix, dilation=1):
        w = {k: self.state[f"{prefix}.{k}"] for k in ("conv_s1.weight", "conv_s1.bias")}
        x = F.conv2d(x, *w.values(), padding=dilation, dilation=dilation)
        fields = ("running_mean", "running_var", "weight", "bias")
        mean, var, weight, bias = (self.state[f"{prefix}.bn_s1.{k}"].view(-1, 1, 1) for k in fields)
        return ((x - mean) / torch.sqrt(var + 1e-5) * weight + bias).clamp(min=0)

    @staticmethod
    def pool(x):
        return F.max_pool2d(x, 2, stride=2, ceil_mode=True)

    @staticmethod
    def resize(x, like):
        return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)

    def rsu(self, x, stage):
        name = self.blocks[stage][0]
        height, flat = int(name[4]), name.endswith("F")
        h_in = self.block(x, f"{stage}.rebnconvin")
        levels = [self.block(h_in, f"{stage}.rebnconv1")]
        for level in range(2, height):
            below = levels[-1] if flat else self.pool(levels[-1])
            dilation = 2 ** (level - 1) if flat else 1
            levels.append(self.block(below, f"{stage}.rebnconv{level}", dilation))
        h = self.block(levels[-1], f"{stage}.rebnconv{height}", 8 if flat else 2)
        for level in range(height - 1, 0, -1):
            skip = levels[level - 1]
            dilation = 2 ** (level - 1) if flat else 1
            both = torch.cat((self.resize(h, skip), skip), 1)
            h = self.block(both, f"{stage}.rebnconv{level}d", dilation)
        return h + h_in

    def __call__(self, x):
        encoded = [self.rsu(x, "stage1")]
        for k in range(2, 7):
            encoded.append(self.rsu(self.pool(encoded[-1]), f"stage{k}"))
        decoded = [encoded[-1]]
        for k in range(5, 0, -1):
            skip = encoded[k - 1]
            both = torch.cat((self.resize(decoded[-1], skip), skip), 1)
            decoded.append(self.rsu(both, f"stage{k}d"))
        sides = []
        for k, features in enumerate(reversed(decoded), start=1):
            side = F.conv2d(
                features, self.state[f"side{k}.weight"], self.state[f"side{k}.bias"], padding=1
            )
            sides.append(self.resize(side, sides[0]) if sides else side)
        fused = F.conv2d(
            torch.cat(sides, 1), self.state["outconv.weight"], self.state["outconv.bias"]
        )
        return [fused, *sides]


@pytest.mark.parametrize("name", ["u2net", "u2netp"])
def test_the_tensors_are_those_of_the_official_checkpoints(name):
    with torch.device("meta"):
        network = U2Net(VARIANTS[name])
    expected = published_shapes(name)
    assert len(expected) == 798
    assert {k: tuple(t.shape) for k, t in network.state_dict().items()} == expected
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (65, 40)])
@pytest.mark.parametrize("name", ["u2net", "u2netp"])
def test_the_forward_pass_is_the_published_one(name, size):
    network = random_network(VARIANTS[name])
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        maps = network(x)
        expected = PublishedForward(name, network.state_dict())(x)
    assert len(maps) == 7
    for got, wanted in zip(maps, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(32, 32), (37, 61), (288, 33)])
def test_any_size_from_32_gives_maps_of_that_size(size):
    with torch.inference_mode():
        maps = U2Net(U2NETP).eval()(torch.rand(2, 3, *size))
    assert [tuple(m.shape) for m in maps] == [(2, 1, *size)] * 7
    assert all(bool(torch.isfinite(m).all()) for m in maps)


def test_the_maps_are_logits():
    network = random_network(U2NETP)
    with torch.inference_mode():
        network.outconv.bias.fill_(50.0)
        fused = network(torch.rand(1, 3, 32, 32))[0]
    assert float(fused.min()) > 1


@pytest.mark.parametrize("fault", ["missing", "surplus"])
def test_loading_is_strict(fault):
    state = U2Net(U2NETP).state_dict()
    if fault == "missing":
        del state["side6.bias"]
    else:
        state["module.side6.bias"] = state["side6.bias"]
    with pytest.raises(RuntimeError, match=r"side6\.bias"):
        U2Net(U2NETP).load_state_dict(state)


def test_one_network_does_not_take_the_other_ones_weights():
    with torch.device("meta"):
        large, small = U2Net(U2NET), U2Net(U2NETP)
        with pytest.raises(RuntimeError, match="size mismatch"):
            large.load_state_dict(small.state_dict())


def test_each_side_output_is_trained():
    network = U2Net(U2NETP)
    sum(m.mean() for m in network(torch.rand(2, 3, 32, 32))).backward()
    assert all(p.grad is not None for p in network.parameters())
