"""Optimisers, learning rate, and the average of the weights.

Muon: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. PyTorch's
own takes matrices only.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from u2cut.training.config import Optimizer, Schedule, TrainConfig

MOMENTUM: Final = 0.95
# A quintic that drives singular values towards 1, steepest at 0 (the reference's coefficients).
_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 5
Tensors = tuple[Tensor, ...] | list[Tensor]


class Muon(torch.optim.AdamW):
    """Orthogonal steps for the convolutions, AdamW for the rest: norms, biases, heads.

    A convolution (O, I, h, w) counts as the matrix (O, I·h·w). Its step has singular values
    of about 1, so that rare directions are learned as fast as common ones, and is scaled to a
    root mean square of 0.2 ``lr``, which is what AdamW's steps have in a long run: one rate
    serves both (J. Liu et al., "Muon is Scalable for LLM Training", 2025, equation 4). AdamW's
    first steps are larger, so that short runs want a higher rate here.

    Args:
        parameters: What is to be optimised.
        lr: Learning rate, of AdamW's size.
        weight_decay: Decoupled weight decay of all of them.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float
    ) -> None:
        filters: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for p in parameters:
            (filters if p.ndim == 4 and p.shape[0] > 1 else others).append(p)
        # Both groups always exist, so that a checkpoint knows which is which.
        groups = [{"params": filters}, {"params": others}]
        super().__init__(groups, lr=lr, weight_decay=weight_decay, foreach=True)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step; the convolutions' gradients are used up by it."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        self._step_filters(self.param_groups[0])
        super().step()

    @torch.no_grad()
    def _step_filters(self, group: dict[str, object]) -> None:
        lr, decay = group["lr"], group["weight_decay"]
        assert isinstance(lr, float)
        assert isinstance(decay, float)
        alike: defaultdict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for p in group["params"]:  # type: ignore[attr-defined]
            if p.grad is None:
                continue
            own = self.state[p]
            if not own:  # AdamW can't read back a state without a count
                own.update(step=torch.zeros(()), momentum=torch.zeros_like(p))
            own["step"] += 1
            own["momentum"].lerp_(p.grad, 1 - MOMENTUM)
            alike[p.shape].append((p, p.grad.lerp(own["momentum"], MOMENTUM)))  # Nesterov's
            p.grad = None  # what has no gradient is not AdamW's
        for shape, entries in alike.items():
            matrices = torch.stack([ahead for _, ahead in entries]).flatten(2)  # (N, O, I·h·w)
            scale = 0.2 * max(matrices.shape[1:]) ** 0.5
            for (p, _), turn in zip(entries, orthogonalise(matrices), strict=True):
                p.mul_(1 - lr * decay).add_(turn.view(shape), alpha=-lr * scale)


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring all singular values near 1, by five Newton-Schulz iterations.

    The reference computes in bf16, whose rounding becomes steps of full size in directions that
    the gradient doesn't have; these matrices are small enough for fp32.

    Args:
        matrices: (N, R, C), any scale.

    Returns:
        (N, R, C): singular vectors as they were, singular values about 0.7 to 1.2, those below
        a thousandth of the greatest less; zeros stay zeros.
    """
    a, b, c = _QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


def make_optimizer(
    config: TrainConfig, parameters: list[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimiser that the config names."""
    if config.optimizer is Optimizer.MUON:
        return Muon(parameters, lr=config.lr, weight_decay=config.weight_decay)
    kind = {Optimizer.ADAM: torch.optim.Adam, Optimizer.ADAMW: torch.optim.AdamW}[config.optimizer]
    optimizer: torch.optim.Optimizer = kind(
        parameters,
        lr=config.lr,
        weight_decay=config.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
    return optimizer


def learning_rate(step: int, steps: int, config: TrainConfig) -> float:
    """Return the learning rate of a step, counted from 0: warm-up, then constant or cosine."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule is Schedule.CONSTANT:
        return config.lr
    progress = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * (1 + math.cos(math.pi * min(1.0, progress))) / 2


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a network that follows it slowly (Polyak averaging), batch norm included.

    In the first steps it follows faster, so that it isn't held by the random start.

    Args:
        network: The network to follow.
        decay: Share of the average that a step keeps.
    """

    @torch.no_grad()
    def follow(own: Tensors, others: Tensors, count: Tensor | int) -> None:
        if own[0].is_floating_point():
            keep = min(decay, (int(count) + 1) / (int(count) + 10))
            torch._foreach_lerp_(own, others, 1 - keep)
        else:  # a counter
            torch._foreach_copy_(own, others)

    average = AveragedModel(network, multi_avg_fn=follow, use_buffers=True)
    return average.eval().requires_grad_(False)
