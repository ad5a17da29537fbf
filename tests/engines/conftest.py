from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from u2cut.model import U2NETP, U2Net

Floats = NDArray[np.float32]


@pytest.fixture(scope="session")
def network() -> U2Net:
    """U2netp with batch-norm statistics and a fusion that matter, as after training."""
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


@pytest.fixture(scope="session")
def weights(network: U2Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def photos() -> Callable[[int, int], Floats]:
    """Network inputs: (count, 3, size, size)."""

    def make(count: int, size: int) -> Floats:
        shape = (count, 3, size, size)
        return np.random.default_rng(0).normal(size=shape).astype(np.float32)

    return make


@pytest.fixture(scope="session")
def published(network: U2Net) -> Callable[[Floats], Floats]:
    """The fused maps as the published network computes them: the oracle of every engine."""

    def maps(batch: Floats) -> Floats:
        with torch.inference_mode():
            result: Floats = network(torch.from_numpy(batch))[0].sigmoid()[:, 0].numpy()
        assert result.std() > 0.01  # a flat map would agree with anything
        return result

    return maps


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _own_cache(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("U2CUT_HOME", str(home))
