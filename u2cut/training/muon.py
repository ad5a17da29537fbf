"""The Muon optimiser for a network of convolutions.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. PyTorch's own
takes matrices only.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

import torch
from torch import Tensor, nn

MOMENTUM: Final = 0.95
# A quintic that drives singular values towards 1, steepest at 0 (the reference's coefficients).
_QUINTIC: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 5


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
