"""A training run's network, optimiser and data, and the three things that are done with them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from u2cut.console import NOTICE, logger
from u2cut.errors import DataError, printable
from u2cut.model import U2Net
from u2cut.training.cache import VALID, Cache
from u2cut.training.config import OUTPUTS, Precision, TrainConfig
from u2cut.training.data import TrainingData
from u2cut.training.distributed import ProcessGroup
from u2cut.training.loader import Batch, SampleNumbers, Samples, batches
from u2cut.training.losses import total_loss
from u2cut.training.network import (
    PHOTOS,
    estimate_batch_norm,
    freeze,
    initial_network,
    is_folded,
    train_mode,
)
from u2cut.training.optim import averaged, learning_rate, make_optimizer
from u2cut.training.validate import ALL, Measures, photo_scores, predict, summarise

EVALUATION_BATCH: Final = 8  # photos at a time, and rows of the preview
# A network whose validation IoU falls below half of its best is lost, if it had learnt anything.
DIVERGED: Final = 0.5
LEARNT: Final = 0.2


class DivergedError(DataError):
    """The network is no longer one: its maps aren't numbers, or far worse than they were."""


@dataclass
class Trainer:
    """The network that a run trains, with its optimiser and its data.

    Attributes:
        config: The config.
        group: The processes of the run.
        data: What it is fed with.
        network: The network that is trained, without any wrapper.
        model: The same, compiled and shared among the processes where that is asked for.
        average: A moving average of its weights, if the config asks for one.
        optimizer: Adam, AdamW or Muon.
        scaler: The loss scaler; idle unless the precision is fp16.
        steps: Optimiser steps in all.
        step: Optimiser steps done.
        best: Best validation IoU so far; -1 before the first.
    """

    config: TrainConfig
    group: ProcessGroup
    data: TrainingData
    network: U2Net
    model: nn.Module
    average: AveragedModel | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    steps: int
    step: int = 0
    best: float = -1.0

    @classmethod
    def start(
        cls, config: TrainConfig, data: TrainingData, group: ProcessGroup, *, estimate: bool
    ) -> "Trainer":
        """Return the run before its first step.

        Args:
            config: The config.
            data: What it is fed with.
            group: The processes of the run.
            estimate: Make folded batch norm trainable; needless where a checkpoint follows.

        Raises:
            UsageError: The config names a part or weights that don't fit the network.
            WeightsError: The weights to start from are not available.
        """
        torch.manual_seed(config.seed)
        network = initial_network(config)
        if estimate and not config.freeze_bn and is_folded(network):
            _unfold_batch_norm(network, config, data, group)
        if config.sync_bn and group.world_size > 1:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        network.to(group.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(network, config.freeze)
        trained = [p for p in network.parameters() if p.requires_grad]
        return cls(
            config,
            group,
            data,
            network,
            _wrap(network, config, group),
            averaged(network, config.ema) if config.ema else None,
            make_optimizer(config, trained, group.device),
            torch.amp.GradScaler(group.device.type, enabled=config.precision is Precision.FP16),
            steps=config.steps or max(1, config.epochs * data.epoch // config.photos_per_step),
        )

    @property
    def kept(self) -> nn.Module:
        """The network that is evaluated and written: the average, if there is one."""
        return self.average.module if self.average else self.network

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return learning_rate(self.step, self.steps, self.config)

    def batches(self) -> Iterator[Batch]:
        """Begin the stream of this process's batches where the steps done have left it."""
        numbers = SampleNumbers(
            self.data.weights,
            self.config,
            start=self.step * self.config.photos_per_step,
            rank=self.group.rank,
            world=self.group.world_size,
        )
        return batches(
            Samples(self.data, self.config),
            numbers,
            workers=self.config.workers,
            pin_memory=self.group.device.type == "cuda",
        )

    def optimise(self, stream: Iterator[Batch]) -> Tensor:
        """Take one optimiser step, over ``accumulate`` batches.

        Returns:
            Mean cross-entropy of the seven outputs on this process's photos, (7,), on the device.
        """
        config = self.config
        train_mode(self.network, freeze_bn=config.freeze_bn)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = self.learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        terms = torch.zeros(OUTPUTS, device=self.group.device)
        for left in reversed(range(config.accumulate)):
            batch = next(stream).to(self.group.device)
            # The processes add up their gradients once a step, after the last batch.
            apart = isinstance(self.model, DistributedDataParallel) and left > 0
            with self.model.no_sync() if apart else nullcontext():  # type: ignore[operator]
                with self._autocast():
                    outputs = self.model(batch.images)  # 7 × (B, 1, S, S) logits
                loss, parts = total_loss(
                    outputs,
                    batch.truth,
                    batch.valid,
                    weights=config.loss_weights or [1.0] * OUTPUTS,
                    iou=config.iou,
                    ssim=config.ssim,
                )
                self.scaler.scale(loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
            terms += parts / config.accumulate
        if config.clip:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self.average:
            self.average.update_parameters(self.network)
        return terms

    def evaluate(self) -> tuple[Measures, NDArray[np.float32]]:
        """Measure the network that is kept on the validation photos.

        Returns:
            IoU and MAE of each set and of all, empty without validation photos; and the seven
            maps of the first of them, or of the first training photos, (B, 7, S, S) in [0, 1].

        Raises:
            DivergedError: The maps are no longer numbers, or far worse than before.
        """
        photos, count = self.shown, len(self.data.val)
        self.kept.eval()
        scores, first_maps = [], None
        for first in range(0, count or 1, EVALUATION_BATCH):
            some = range(first, min(first + EVALUATION_BATCH, len(photos)))
            maps = predict(
                self.kept,
                photos,
                some,
                size=self.config.resize,
                device=self.group.device,
                autocast=self._autocast(),
            )
            if not np.isfinite(maps).all():
                raise DivergedError(f"the maps are no longer numbers at step {self.step}")
            first_maps = maps if first_maps is None else first_maps
            for i, outputs in zip(some, maps, strict=True):
                valid = photos.valid(i) == VALID
                scores.append(photo_scores(outputs[0], photos.mask(i), valid))
        assert first_maps is not None
        measures = summarise(scores, self.data.val_sets) if count else {}
        if measures and self.best > LEARNT and measures[ALL]["iou"] < DIVERGED * self.best:
            fallen = f"validation IoU {measures[ALL]['iou']:.3f} at step {self.step}"
            raise DivergedError(f"{fallen}, {self.best:.3f} before")
        return measures, first_maps

    @property
    def shown(self) -> Cache:
        """The photos of the preview: validation's, or the training's without any."""
        return self.data.val if len(self.data.val) else self.data.cache

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint holds: tensors and plain values only."""
        return {
            "step": self.step,
            "best": self.best,
            "network": self.network.state_dict(),
            "average": self.average.state_dict() if self.average else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what ``state_dict`` returned.

        Raises:
            DataError: It is another run's, or another version's.
        """
        try:
            self.step, self.best = state["step"], state["best"]
            self.network.load_state_dict(state["network"])
            if self.average:
                self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            torch.set_rng_state(state["rng"])
        except (KeyError, RuntimeError, ValueError) as e:
            raise DataError(
                "the checkpoint is of another network, other options or another version of u2cut",
                remedy="start another run, with --init and the weights of this one",
            ) from e

    def _autocast(self) -> AbstractContextManager[object]:
        kinds = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
        if self.config.precision is Precision.FP32:
            return nullcontext()
        return torch.autocast(self.group.device.type, kinds[self.config.precision])


def _unfold_batch_norm(
    network: U2Net, config: TrainConfig, data: TrainingData, group: ProcessGroup
) -> None:
    """Make a network that was published with folded batch norm trainable.

    Each process does it by itself, on the same photos.
    """
    count = -(-PHOTOS // config.batch_size)
    if group.is_main_process:
        logger.log(
            NOTICE,
            "batch norm is folded into %s: its statistics are estimated on %d training photos",
            printable(config.init),
            count * config.batch_size,
        )
    numbers = SampleNumbers(data.weights, config)
    samples = batches(Samples(data, config), numbers, workers=0, pin_memory=False)
    network.to(group.device)
    some = islice(samples, count)
    estimate_batch_norm(network, (batch.to(group.device).images for batch in some))


def _wrap(network: nn.Module, config: TrainConfig, group: ProcessGroup) -> nn.Module:
    """Compile the network and share it among the processes, where that is asked for.

    The network itself stays as it is: measuring it, with batches of other sizes, would mean
    compiling again and again.
    """
    model: nn.Module = network
    if config.compile:
        model = torch.compile(network)  # type: ignore[assignment]
    return DistributedDataParallel(model) if group.world_size > 1 else model
