"""The network that is trained: its first weights, its frozen parts, and its batch norm.

Weights that were published as ONNX have batch norm folded into the convolutions: every batch norm
is neutral, and its statistics are not those of the values that pass through. In training mode,
where a batch's own statistics count, such a network is another one. Statistics measured on
training photos, with the scale and shift that undo them, leave evaluation mode as it is and make
training mode behave.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from u2cut.errors import UsageError
from u2cut.model import BATCH_NORM_EPSILON, VARIANTS, U2Net
from u2cut.training.config import TrainConfig
from u2cut.weights import as_file, find, local
from u2cut.weights.load import load_network

PHOTOS = 96  # 320 x 320 pixels each: enough for means that agree to a few per cent


def initial_network(config: TrainConfig) -> U2Net:
    """Make the network, random or with the weights that ``init`` names.

    Raises:
        UsageError: The weights are the other network's.
        WeightsError: They are not available.
    """
    variant = VARIANTS[config.model]
    if config.init == "none":
        return U2Net(variant)
    path = as_file(config.init)
    chosen = find(config.init) if path is None else local(path)
    network = load_network(chosen.path)
    if network.variant is not variant:
        raise UsageError(
            f"--init {config.init} is a {network.variant.name}; say --model {network.variant.name}"
        )
    return network


def freeze(network: nn.Module, names: Sequence[str]) -> None:
    """Let the named parts keep their weights; their batch norms keep their statistics too.

    Raises:
        UsageError: There is no such part.
    """
    parts = dict(network.named_children())
    for name in names:
        if name not in parts:
            raise UsageError(f"--freeze {name}: the network's parts are {', '.join(parts)}")
        parts[name].requires_grad_(False)


def train_mode(network: nn.Module, *, freeze_bn: bool = False) -> None:
    """Put a network into training mode, its frozen parts into evaluation mode.

    Args:
        network: The network that is trained.
        freeze_bn: Leave every batch norm in evaluation mode; its scale and shift are trained.
    """
    network.train()
    for part in network.children():
        parameters = list(part.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            part.eval()
    if freeze_bn:
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):  # synchronised ones, too
                module.eval()


def is_folded(network: nn.Module) -> bool:
    """Return whether each batch norm is neutral, as ``weights.onnx_import`` leaves them."""
    norms = _norms(network)
    return bool(norms) and all(_is_neutral(norm) for norm in norms)


@torch.no_grad()
def estimate_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give a folded network the statistics of the values that pass through it.

    With mean μ and variance σ² of a convolution's output: running mean μ, running variance σ²,
    weight √(σ² + ε), bias μ. In evaluation mode the network computes what it did before.

    Args:
        network: Left in evaluation mode.
        batches: Normalised RGB, (B, 3, S, S) float32, on the network's device.
    """
    norms = _norms(network)
    sums = [torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms]

    def add_to(total: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].double()
            total[0] += values.sum((0, 2, 3)).cpu()
            total[1] += values.square().sum((0, 2, 3)).cpu()
            total[2] += values.numel() // values.shape[1]

        return add

    pairs = zip(norms, sums, strict=True)
    handles = [norm.register_forward_pre_hook(add_to(total)) for norm, total in pairs]
    network.eval()
    try:
        for images in batches:
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    for norm, (first, second, count) in zip(norms, sums, strict=True):
        mean = first / count
        variance = (second / count - mean.square()).clamp(min=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean)


def _norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


def _is_neutral(norm: nn.BatchNorm2d) -> bool:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return (
        bool((norm.weight == 1).all())
        and not bool(norm.bias.any())
        and not bool(norm.running_mean.any())
        and bool((norm.running_var - (1 - BATCH_NORM_EPSILON)).abs().max() < 1e-7)
    )
