from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from u2cut.engines.base import open_engine
from u2cut.model import U2NETP, U2Net


def random_network() -> U2Net:
    """U2netp with batch-norm statistics that matter, as after training."""
    torch.manual_seed(3)
    network = U2Net(U2NETP)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.3)
    torch.nn.init.normal_(network.outconv.weight)
    return network.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(random_network().state_dict(), path)
    return path


def published_maps(batch: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return random_network()(torch.from_numpy(batch))[0].sigmoid()[:, 0].numpy()


def photos(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize("size", [64, 67])
def test_the_maps_are_those_of_the_published_network(weights: Path, size: int) -> None:
    batch = photos(2, size)
    maps = open_engine(weights, engine="torch", device="cpu").predict(batch)
    assert maps.shape == (2, size, size)
    assert maps.dtype == np.float32
    expected = published_maps(batch)
    assert expected.std() > 0.01  # a flat map would agree with anything
    np.testing.assert_allclose(maps, expected, atol=1e-4)
