import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from u2cut.model import U2NETP, U2Net
from u2cut.training.config import Schedule, TrainConfig
from u2cut.training.optim import MOMENTUM, Muon, averaged, learning_rate, orthogonalise


@pytest.mark.parametrize("shape", [(3, 16, 144), (2, 64, 27), (1, 8, 8)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape, scale):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * scale
    turned = orthogonalise(matrices)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ turned @ vh.mT  # diagonal, where the singular vectors are the same
    diagonal = inside.diagonal(dim1=1, dim2=2)
    assert diagonal.min() > 0.3  # the square one has a singular value near zero
    assert diagonal.max() < 1.3
    assert (inside - torch.diag_embed(diagonal)).abs().max() < 0.05


def test_a_gradient_of_zeros_moves_nothing():
    weight = nn.Parameter(torch.randn(4, 2, 3, 3))
    before = weight.detach().clone()
    weight.grad = torch.zeros_like(weight)
    Muon([weight], lr=1e-2, weight_decay=0.0).step()
    assert weight.equal(before)


def test_a_step_has_the_size_of_adamws_and_weights_decay():
    torch.manual_seed(0)
    weight = nn.Parameter(torch.ones(16, 16, 3, 3))
    weight.grad = torch.randn_like(weight)
    Muon([weight], lr=1e-2, weight_decay=0.5).step()
    moved = weight.detach() - (1 - 1e-2 * 0.5)
    assert moved.square().mean().sqrt().item() == pytest.approx(0.2 * 1e-2, rel=0.2)


def test_the_first_step_goes_against_the_gradient():
    # One singular value: the step is the gradient's direction, whatever the momentum.
    column, row = torch.randn(8, 1), torch.randn(1, 18)
    weight = nn.Parameter(torch.zeros(8, 2, 3, 3))
    weight.grad = (column @ row).view(8, 2, 3, 3)
    direction = weight.grad.flatten()
    Muon([weight], lr=1e-2, weight_decay=0.0).step()
    assert torch.cosine_similarity(weight.flatten(), -direction, dim=0) > 0.99


def test_old_gradients_are_remembered():
    first, second = torch.zeros(2, 1, 1, 2), torch.zeros(2, 1, 1, 2)
    first[0, 0, 0, 0], second[1, 0, 0, 1] = 1.0, 1e-4
    weight = nn.Parameter(torch.zeros(2, 1, 1, 2))
    optimizer = Muon([weight], lr=1.0, weight_decay=0.0)
    for gradient in (first, second):
        weight.grad = gradient.clone()
        optimizer.step()
    expected = (1 - MOMENTUM) * MOMENTUM
    assert optimizer.state[weight]["momentum"][0, 0, 0, 0].item() == pytest.approx(expected)
    assert weight[0, 0, 0, 0] < -0.3  # moved by both steps


def test_norms_biases_and_heads_are_adamws():
    torch.manual_seed(0)
    network = U2Net(U2NETP)
    twin = copy.deepcopy(network)
    muon = Muon(network.parameters(), lr=1e-3, weight_decay=1e-2)
    adamw = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=1e-2)
    for p, q in zip(network.parameters(), twin.parameters(), strict=True):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
    muon.step()
    adamw.step()
    same = {
        name
        for (name, p), q in zip(network.named_parameters(), twin.parameters(), strict=True)
        if torch.allclose(p, q, rtol=0, atol=1e-7)
    }
    filters = {n for n, p in network.named_parameters() if p.ndim == 4 and p.shape[0] > 1}
    assert len(filters) == 112  # all convolutions but the six sides and the fusion
    assert same == {n for n, _ in network.named_parameters()} - filters


def test_frozen_parts_and_unused_ones_are_left_alone():
    a, b = (nn.Parameter(torch.randn(4, 2, 3, 3)) for _ in range(2))
    before = b.detach().clone()
    a.grad = torch.randn_like(a)
    Muon([a, b], lr=1e-2, weight_decay=0.1).step()
    assert b.equal(before)


def test_its_state_survives_a_checkpoint():
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(4, 2, 3, 3)), nn.Parameter(torch.randn(4))]
    gradients = [[torch.randn_like(p) for p in parameters] for _ in range(4)]

    def run(optimizer, own, some):
        for step in some:
            for p, g in zip(own, step, strict=True):
                p.grad = g.clone()
            optimizer.step()

    straight = [nn.Parameter(p.detach().clone()) for p in parameters]
    run(Muon(straight, lr=1e-2, weight_decay=0.1), straight, gradients)

    first = Muon(parameters, lr=1e-2, weight_decay=0.1)
    run(first, parameters, gradients[:2])
    resumed = [nn.Parameter(p.detach().clone()) for p in parameters]
    second = Muon(resumed, lr=1e-2, weight_decay=0.1)
    second.load_state_dict(first.state_dict())
    run(second, resumed, gradients[2:])
    assert all(a.equal(b) for a, b in zip(straight, resumed, strict=True))


def test_the_published_rate_is_constant():
    assert {learning_rate(s, 100, TrainConfig()) for s in range(100)} == {1e-3}


def test_warm_up_rises_to_the_rate_and_cosine_falls_to_nothing():
    config = TrainConfig(lr=2.0, warmup=10, schedule=Schedule.COSINE)
    rates = [learning_rate(s, 110, config) for s in range(110)]
    assert rates[:10] == pytest.approx([0.2 * k for k in range(1, 11)])
    assert rates[10] == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert all(a > b for a, b in pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


def follow(average, network, times):
    for _ in range(times):
        average.update_parameters(network)


def test_the_average_follows_by_its_decay():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    average = averaged(net, 0.9)
    follow(average, net, 100)
    nn.init.constant_(net.weight, 2.0)
    average.update_parameters(net)
    assert average.module.weight.item() == pytest.approx(1.1)
    assert net.weight.item() == 2.0


def test_a_young_average_follows_faster():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 0.0)
    average = averaged(net, 0.999)
    average.update_parameters(net)
    nn.init.constant_(net.weight, 1.0)
    average.update_parameters(net)
    assert average.module.weight.item() == pytest.approx(1 - 2 / 11)


def test_the_average_takes_over_statistics_and_counters():
    net = U2Net(U2NETP)
    average = averaged(net, 0.9)
    average.update_parameters(net)
    norm = net.stage1.rebnconvin.bn_s1
    norm.num_batches_tracked += 7
    norm.running_mean += 1
    average.update_parameters(net)
    own = average.module.stage1.rebnconvin.bn_s1
    assert own.num_batches_tracked == 7
    assert own.running_mean.mean().item() == pytest.approx(1 - 2 / 11)
