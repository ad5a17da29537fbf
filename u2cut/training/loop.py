"""The training loop, from top to bottom."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from u2cut.errors import DataError, Interrupted
from u2cut.stdio import printable, progress
from u2cut.training.checkpoint import load_checkpoint, save_checkpoint, write_whole
from u2cut.training.config import TrainConfig, dump_config
from u2cut.training.loader import Batch, SampleNumbers, batches
from u2cut.training.loss import total_loss
from u2cut.training.report import Report
from u2cut.training.sets import load_data
from u2cut.training.state import State, initial_network, rate, start, train_mode
from u2cut.training.team import Team, join_team, leave_team, synchronise_batch_norm
from u2cut.training.validate import validate

logger = logging.getLogger("u2cut")

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def train(config: TrainConfig, *, resume: bool = False) -> None:
    """Run a recipe, or go on with a run that was stopped.

    Raises:
        DataError: The data is at fault, or the loss is no longer a number.
        Interrupted: Stopped by the user, after a checkpoint was saved.
    """
    team = join_team(config.device)
    try:
        with _explain_memory(config), _stop_signals() as stopping:
            _train(config, team, stopping, resume=resume)
    finally:
        leave_team(team)


def _train(
    config: TrainConfig, team: Team, stopping: Callable[[], bool], *, resume: bool
) -> None:
    out, device = config.out, team.device
    data = load_data(config, team)
    per_step = config.batch_size * config.accumulate
    steps = config.steps or max(1, config.epochs * data.length // per_step)
    if team.leads:
        write_whole(out / "config.toml", lambda p: p.write_text(dump_config(config), "utf-8"))

    torch.manual_seed(config.seed)
    state = start(config, initial_network(config), device)
    if resume:
        state.load(load_checkpoint(out / "checkpoints"))
    model = _wrap(state.network, config, team)
    report = Report(config, state, data, steps, leads=team.leads)
    numbers = SampleNumbers(
        data.weights, config, start=state.step * per_step, rank=team.rank, world=team.world
    )
    stream = batches(
        data.samples, numbers, workers=config.workers, pin_memory=device.type == "cuda"
    )

    train_mode(state.network)
    with progress(steps, unit="step", quiet=not team.leads) as bar:
        bar.update(state.step)
        while state.step < steps:
            learning_rate = rate(state.step, steps, config)
            for group in state.optimizer.param_groups:
                group["lr"] = learning_rate
            terms = optimise(model, state, stream, config, team)
            state.step += 1
            bar.update()

            stop = team.agree(stopping())
            last = stop or state.step == steps
            if last or state.step % config.log_every == 0:
                bar.set_postfix_str(report.log(terms, learning_rate))
            if state.step % config.eval_every == 0 or state.step == steps:
                report.evaluate(device)
                train_mode(state.network)
            if team.leads and (last or state.step % config.save_every == 0):
                save_checkpoint(out / "checkpoints", state.step, state.dump(), config.keep)
            if stop:
                raise Interrupted(
                    f"stopped after step {state.step}, saved in {printable(out)}; "
                    f"go on with: u2cut train --resume --out {printable(out)}"
                )
            team.wait() if last else None
    report.finish()


def optimise(
    model: nn.Module, state: State, stream: Iterator[Batch], config: TrainConfig, team: Team
) -> Tensor:
    """Take one optimiser step over ``accumulate`` batches.

    Returns:
        The mean cross-entropy of the seven outputs, (7,), on the device.
    """
    terms = torch.zeros(7, device=team.device)
    state.optimizer.zero_grad(set_to_none=True)
    for micro in range(config.accumulate):
        batch = next(stream).to(team.device)
        waiting = micro + 1 < config.accumulate and isinstance(model, DistributedDataParallel)
        with model.no_sync() if waiting else nullcontext():  # gradients meet at the last batch
            with torch.autocast(
                team.device.type, _DTYPES.get(config.precision), config.precision in _DTYPES
            ):
                outputs = model(batch.images)  # 7 × (B, 1, S, S) logits
            loss, parts = total_loss(
                outputs,
                batch.truth,
                batch.known,
                weights=config.loss_weights,
                iou=config.iou,
                ssim=config.ssim,
            )
            state.scaler.scale(loss / config.accumulate).backward()
        terms += parts / config.accumulate
    if config.clip:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.average:
        state.average.update(state.network, state.step + 1)
    return terms


def _wrap(network: nn.Module, config: TrainConfig, team: Team) -> nn.Module:
    """Compile and share the network among the processes, where that is asked for."""
    if team.world > 1 and config.sync_bn:
        synchronise_batch_norm(network)
    model = network
    if config.compile:
        model = torch.compile(model)
    if team.world > 1:
        model = DistributedDataParallel(model, broadcast_buffers=not config.sync_bn)
    return model


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into a flag; the second one kills as usual."""
    stopped = False

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        signal.signal(number, before[number])
        logger.warning("stopping after this step; once more to stop at once")

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, stop)
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _explain_memory(config: TrainConfig) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, RuntimeError) as e:
        if not isinstance(e, torch.OutOfMemoryError) and "can't allocate memory" not in str(e):
            raise
        smaller = max(1, config.batch_size // 2)
        raise DataError(
            f"out of memory with {config.batch_size} photos of {config.input_size} pixels; try "
            f"--batch-size {smaller} --accumulate {2 * config.accumulate}, which learns the same"
        ) from e
