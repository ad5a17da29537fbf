"""Channels that hold one value on every photo, and precisions with few digits."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import openvino as ov
import openvino.opset13 as ops
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from u2cut import saliency
from u2cut.datasets.masks import read_frame
from u2cut.engines.levelled import LevelledConv, level, levelled
from u2cut.engines.openvino_engine import _graph
from u2cut.engines.torch_engine import FusedNetwork
from u2cut.export.openvino_graph import _Layers, add_rim
from u2cut.model import U2Net
from u2cut.weights import find
from u2cut.weights.load import load_network

Floats = NDArray[np.float32]
EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.jpg"))


@pytest.fixture(scope="module")
def constant(network: U2Net) -> U2Net:
    """A network whose stage 2d holds a channel of about 226 that the next layer takes away."""
    made = deepcopy(network)
    first = made.get_submodule("stage2d.rebnconv2d")
    second = made.get_submodule("stage2d.rebnconv1d")
    with torch.no_grad():
        first.bn_s1.weight[5] = 0.01
        first.bn_s1.bias[5] = 226
        kernel = torch.randn(64, 3, 3, generator=torch.Generator().manual_seed(1))
        second.conv_s1.weight[:, 5] = kernel
        second.bn_s1.running_mean.copy_(226 * kernel.sum((1, 2)))
    return made.eval()


def maps(network: FusedNetwork, batch: torch.Tensor) -> Floats:
    with torch.inference_mode():
        found: Floats = network(batch).numpy()
    return found


def test_the_network_stays_what_it_is(
    constant: U2Net, photos: Callable[[int, int], Floats]
) -> None:
    """To the border, where the reader sees the level end, and at sizes that aren't square."""
    batch = torch.from_numpy(photos(2, 96))[..., :64]
    plain = FusedNetwork(deepcopy(constant))
    moved = FusedNetwork(deepcopy(constant))
    level(moved.network)
    assert [name for name, _ in levelled(moved.network)] == ["stage2d.rebnconv1d"]
    for _ in range(2):
        np.testing.assert_allclose(maps(moved, batch), maps(plain, batch), atol=2e-4)


def test_in_bf16_nothing_is_lost(constant: U2Net, photos: Callable[[int, int], Floats]) -> None:
    batch = torch.from_numpy(photos(2, 96))
    exact = maps(FusedNetwork(deepcopy(constant)), batch)
    errors = []
    for change in (lambda network: None, level):
        network = FusedNetwork(deepcopy(constant))
        change(network.network)
        found = maps(network.to(torch.bfloat16), batch.bfloat16())
        errors.append(float(np.abs(found - exact).mean()))
    assert errors[1] < errors[0] / 4


@pytest.mark.parametrize("name", ["u2netp", "lite"])
def test_what_is_bundled_keeps_its_maps_in_bf16(name: str) -> None:
    inputs = [saliency.preprocess(read_frame(path).image, 160) for path in EXAMPLES]
    batch = torch.from_numpy(np.stack(inputs))
    network = FusedNetwork(load_network(find(name).path))
    exact = maps(network, batch)
    level(network.network)
    assert list(levelled(network.network))
    found = maps(network.to(torch.bfloat16), batch.bfloat16())
    assert np.abs(found - exact).mean() < 0.004


def test_openvino_builds_the_same(
    constant: U2Net, photos: Callable[[int, int], Floats], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(constant.state_dict(), path)
    photo = photos(1, 96)
    exact = maps(FusedNetwork(deepcopy(constant)), torch.from_numpy(photo))
    additions = {}
    for precision in ("fp32", "bf16", "int8"):
        model = _graph(path, 96, precision)
        additions[precision] = [op.get_type_name() for op in model.get_ops()].count("Add")
        run = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        np.testing.assert_allclose(run(photo)[0][:, 0], exact, atol=2e-4)
    # What the border adds is there where the levels were moved, and nowhere else.
    assert additions["bf16"] == additions["int8"] == additions["fp32"] + 3  # columns, rows


def test_the_border_is_not_kept_as_a_whole_map(constant: U2Net, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(constant.state_dict(), path)
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    plain, levelled = (
        len(ov.Core().compile_model(_graph(path, 96, p), "CPU", settings).export_model().getvalue())
        for p in ("fp32", "bf16")
    )
    assert levelled < plain + 100_000  # the map has 590,000 bytes


@pytest.mark.parametrize(("height", "width"), [(12, 10), (5, 5), (4, 6), (3, 3)])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_border_is_exact_on_every_map(height: int, width: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(6, 4, 3, padding=dilation, dilation=dilation)
    levels, x = 20 * torch.rand(6), torch.rand(1, 6, height, width)
    with torch.no_grad():
        moved = LevelledConv(layer, levels)
        exact = layer(x + levels[:, None, None]).numpy()
    photo = ops.parameter([1, 6, height, width], ov.Type.f32)
    found = _Layers().convolution(photo.output(0), moved, "layer")
    model = ov.Model([ops.relu(ops.add(found, np.float32(0))).output(0)], [photo])
    add_rim(model, "layer", moved.edges, dilation)
    run = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(run(x.numpy())[0], np.maximum(exact, 0), atol=1e-4)
