import copy
from dataclasses import replace

import pytest
import torch

from u2cut.errors import UsageError, WeightsError
from u2cut.model import U2NET, U2NETP, U2Net
from u2cut.training.checkpoint import save_weights
from u2cut.training.config import Network, TrainConfig
from u2cut.training.network import freeze, initial_network, train_mode

SMALL = TrainConfig(model=Network.U2NETP)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return U2Net(U2NETP)


def test_frozen_parts_keep_weights_and_statistics(network):
    net = copy.deepcopy(network)
    freeze(net, ["stage1", "side6"])
    before = copy.deepcopy(net.state_dict())
    train_mode(net)
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    sum(out.square().mean() for out in net(torch.randn(2, 3, 64, 64))).backward()
    optimizer.step()
    changed = {k.partition(".")[0] for k, v in net.state_dict().items() if not v.equal(before[k])}
    everything = {k.partition(".")[0] for k in before}
    assert changed == everything - {"stage1", "side6"}


def test_a_part_that_is_not_there_is_refused(network):
    with pytest.raises(UsageError, match=r"stage9.*stage1d"):
        freeze(copy.deepcopy(network), ["stage9"])


def test_weights_to_start_from_are_read_from_a_file(tmp_path, network):
    path = tmp_path / "start.safetensors"
    save_weights(path, network, {})
    started = initial_network(replace(SMALL, init=str(path)))
    assert all(v.equal(network.state_dict()[k]) for k, v in started.state_dict().items())
    with pytest.raises(UsageError, match="--model u2netp"):
        initial_network(TrainConfig(init=str(path)))


def test_the_bundled_weights_have_a_name():
    assert initial_network(replace(SMALL, init="u2netp")).variant is U2NETP


def test_weights_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(WeightsError, match="nothing"):
        initial_network(replace(SMALL, init=str(tmp_path / "nothing.pth")))


def test_without_weights_the_seed_decides():
    torch.manual_seed(0)
    assert initial_network(TrainConfig()).variant is U2NET
