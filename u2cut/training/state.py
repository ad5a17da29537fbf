"""Everything of a run that changes from step to step, and its way to disk and back."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from u2cut.errors import UsageError
from u2cut.model import VARIANTS, U2Net
from u2cut.training.average import Average
from u2cut.training.config import Optimizer, Precision, Schedule, TrainConfig
from u2cut.training.muon import Muon
from u2cut.weights import as_file, find, local
from u2cut.weights.load import load_network


@dataclass
class State:
    """What a checkpoint holds.

    Attributes:
        network: The network that is trained, without any wrapper.
        average: Its moving average, if the config has one.
        optimizer: Adam, AdamW or Muon.
        scaler: The loss scaler; idle unless the precision is fp16.
        step: Optimiser steps done.
        best: Best validation IoU so far; -1 before the first.
    """

    network: U2Net
    average: Average | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    step: int = 0
    best: float = -1.0

    @property
    def kept(self) -> U2Net:
        """The network that is evaluated and written: the average, if there is one."""
        return self.average.network if self.average else self.network

    def dump(self) -> dict[str, Any]:
        """Return tensors and plain values only."""
        return {
            "step": self.step,
            "best": self.best,
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict() if self.average else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def load(self, dumped: dict[str, Any]) -> None:
        """Take over what ``dump`` returned."""
        self.step, self.best = dumped["step"], dumped["best"]
        self.network.load_state_dict(dumped["network"])
        if self.average:
            self.average.network.load_state_dict(dumped["average"])
        self.optimizer.load_state_dict(dumped["optimizer"])
        self.scaler.load_state_dict(dumped["scaler"])
        torch.set_rng_state(dumped["rng"])


def start(config: TrainConfig, network: U2Net, device: torch.device) -> State:
    """Return the state before the first step."""
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    freeze(network, config.freeze)
    return State(
        network,
        Average(network, config.ema) if config.ema else None,
        _optimizer(config, [p for p in network.parameters() if p.requires_grad], device),
        torch.amp.GradScaler(device.type, enabled=config.precision is Precision.FP16),
    )


def _optimizer(
    config: TrainConfig, parameters: list[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
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
    """Let the named parts keep their weights; their batch norms keep their averages too.

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


def rate(step: int, steps: int, config: TrainConfig) -> float:
    """Return the learning rate of a step, counted from 0: warm-up, then constant or cosine."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule is Schedule.CONSTANT:
        return config.lr
    progress = (step - config.warmup) / max(1, steps - config.warmup)
    return config.lr * (1 + math.cos(math.pi * min(1.0, progress))) / 2
