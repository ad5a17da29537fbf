"""The exponential moving average of a network's weights."""

import copy

import torch
from torch import nn

from u2cut.model import U2Net


class Average:
    """A second network that follows the first one slowly (Polyak averaging).

    In the first steps it follows faster, so that it isn't held by the random start.

    Args:
        network: The network to follow.
        decay: Share of the average that a step keeps.
    """

    def __init__(self, network: U2Net, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Move towards ``network`` after optimiser step ``step`` (from 1)."""
        decay = min(self._decay, step / (step + 9))
        own, others = self.network.state_dict(), network.state_dict()
        floats = [k for k, v in own.items() if v.is_floating_point()]
        torch._foreach_lerp_([own[k] for k in floats], [others[k] for k in floats], 1 - decay)
        for key in own.keys() - floats:
            own[key].copy_(others[key])
