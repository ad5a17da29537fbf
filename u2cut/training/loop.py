"""The training loop, from top to bottom."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from u2cut.console import NOTICE, logger, progress
from u2cut.errors import Interrupted, UsageError, printable
from u2cut.model import U2Net
from u2cut.training import batch_norm
from u2cut.training.checkpoint import load_checkpoint, save_checkpoint, write
from u2cut.training.config import OUTPUTS, Precision, TrainConfig, check_data
from u2cut.training.configfile import format_config
from u2cut.training.data import TrainingData, load_data
from u2cut.training.distributed import ProcessGroup, join_group, leave_group, synchronise_batch_norm
from u2cut.training.limits import explain_memory, require_compiler
from u2cut.training.loader import Batch, SampleNumbers, Samples, batches
from u2cut.training.loss import total_loss
from u2cut.training.report import Report
from u2cut.training.state import State, initial_network, rate, start, train_mode


def train(config: TrainConfig, out: Path, *, resume: bool = False, quiet: bool = False) -> None:
    """Run a training, or go on with a run that was stopped.

    Args:
        config: The config.
        out: The run's folder.
        resume: Go on after its last checkpoint.
        quiet: Show no progress.

    Raises:
        UsageError: The config doesn't say what to train on.
        DataError: The data is invalid, memory is short, or the loss is no longer a number.
        DeviceError: The device isn't there, or torch can't compile for it.
        Interrupted: Stopped by the user, after a checkpoint was saved.
    """
    check_data(config)
    group = join_group(config.device)
    try:
        if config.batch_size % group.world_size:
            raise UsageError(
                f"--batch-size {config.batch_size} can't be shared by {group.world_size} processes"
            )
        if config.compile:
            require_compiler(group.device)
        if (
            config.precision is Precision.FP16
            and group.device.type == "cpu"
            and group.is_main_process
        ):
            logger.warning("--precision fp16 is for GPUs: a CPU is many times slower with it")
        with explain_memory(config, group.world_size):
            data = _load_together(config, out, group, quiet=quiet)
            _train(config, out, data, group, resume=resume, quiet=quiet)
    finally:
        leave_group(group)


def _train(
    config: TrainConfig,
    out: Path,
    data: TrainingData,
    group: ProcessGroup,
    *,
    resume: bool,
    quiet: bool,
) -> None:
    steps = config.steps or max(1, config.epochs * data.epoch // config.photos_per_step)
    torch.manual_seed(config.seed)
    network = initial_network(config)
    if not (resume or config.freeze_bn) and batch_norm.is_folded(network):
        _estimate_batch_norm(network, config, data, group)
    state = start(config, network, group.device)
    if resume:
        state.load(load_checkpoint(out / "checkpoints"))
    model = _wrap(state.network, config, group)
    stream = _batches_from(state.step, config, data, group)
    report = Report(config, out, data, state, group.device) if group.is_main_process else None
    if group.is_main_process:
        write(out / "config.toml", format_config(config))

    def save() -> None:
        if group.is_main_process:
            save_checkpoint(out / "checkpoints", state.step, state.dump(), config.keep)

    with (
        _stop_signals() as asked_to_stop,
        progress(steps, unit="step", quiet=quiet or not group.is_main_process) as bar,
    ):
        bar.update(state.step)
        while state.step < steps:
            learning_rate = rate(state.step, steps, config)
            terms = optimise(model, state, stream, config, group, learning_rate)
            bar.update()
            if report:
                report.count(terms)
            stop = group.any_wants(asked_to_stop())
            done = state.step == steps
            if report and (stop or done or state.step % config.log_every == 0):
                bar.show(report.log(learning_rate))
            if report and (done or state.step % config.eval_every == 0):
                report.evaluate(_autocast(config, group))
            if stop or done or state.step % config.save_every == 0:
                save()
            if stop and not done:
                raise Interrupted(
                    f"stopped after step {state.step}, saved in {printable(out)}; to go on: "
                    f"u2cut train --resume --out {printable(out)}"
                )
    group.barrier()  # for the last evaluation
    if report:
        report.finish()


def optimise(
    model: nn.Module,
    state: State,
    stream: Iterator[Batch],
    config: TrainConfig,
    group: ProcessGroup,
    learning_rate: float,
) -> Tensor:
    """Take one optimiser step, over ``accumulate`` batches.

    Returns:
        Mean cross-entropy of the seven outputs on this process's photos, (7,), on the device.
    """
    train_mode(state.network, freeze_bn=config.freeze_bn)
    for parameters in state.optimizer.param_groups:
        parameters["lr"] = learning_rate
    state.optimizer.zero_grad(set_to_none=True)
    terms = torch.zeros(OUTPUTS, device=group.device)
    for left in reversed(range(config.accumulate)):
        batch = next(stream).to(group.device)
        # The processes add up their gradients once a step, after the last batch.
        apart = isinstance(model, DistributedDataParallel) and left > 0
        with model.no_sync() if apart else nullcontext():  # type: ignore[operator]
            with _autocast(config, group):
                outputs = model(batch.images)  # 7 × (B, 1, S, S) logits
            loss, parts = total_loss(
                outputs,
                batch.truth,
                batch.valid,
                weights=config.loss_weights or [1.0] * OUTPUTS,
                iou=config.iou,
                ssim=config.ssim,
            )
            state.scaler.scale(loss / config.accumulate).backward()  # type: ignore[no-untyped-call]
        terms += parts / config.accumulate
    if config.clip:
        state.scaler.unscale_(state.optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.step += 1
    if state.average:
        state.average.update(state.network, state.step)
    return terms


def _load_together(
    config: TrainConfig, out: Path, group: ProcessGroup, *, quiet: bool
) -> TrainingData:
    """Let process 0 decode into the cache; the others then find it there."""
    folder = config.cache or out / "cache"
    if group.is_main_process:
        data = load_data(config, folder, quiet=quiet)
    group.barrier()
    return data if group.is_main_process else load_data(config, folder, quiet=True)


def _batches_from(
    step: int, config: TrainConfig, data: TrainingData, group: ProcessGroup
) -> Iterator[Batch]:
    """Begin the stream of this process's batches where ``step`` steps have left it."""
    numbers = SampleNumbers(
        data.weights,
        config,
        start=step * config.photos_per_step,
        rank=group.rank,
        world=group.world_size,
    )
    return batches(
        Samples(data, config),
        numbers,
        workers=config.workers,
        pin_memory=group.device.type == "cuda",
    )


def _estimate_batch_norm(
    network: U2Net, config: TrainConfig, data: TrainingData, group: ProcessGroup
) -> None:
    """Make a network that was published with folded batch norm trainable.

    Each process does it by itself, on the same photos.
    """
    count = -(-batch_norm.PHOTOS // config.batch_size)
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
    batch_norm.estimate(network, (batch.to(group.device).images for batch in some))


def _wrap(network: nn.Module, config: TrainConfig, group: ProcessGroup) -> nn.Module:
    """Compile the network and share it among the processes, where that is asked for.

    The network itself stays as it is: measuring it, with batches of other sizes, would mean
    compiling again and again.
    """
    if group.world_size > 1 and config.sync_bn:
        synchronise_batch_norm(network)
    model: nn.Module = network
    if config.compile:
        model = torch.compile(network)  # type: ignore[assignment]
    return DistributedDataParallel(model) if group.world_size > 1 else model


def _autocast(config: TrainConfig, group: ProcessGroup) -> AbstractContextManager[object]:
    kinds = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}
    if config.precision is Precision.FP32:
        return nullcontext()
    return torch.autocast(group.device.type, kinds[config.precision])


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag; a second Ctrl-C acts as before."""
    stopped = False
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        nonlocal stopped
        stopped = True
        if number == signal.SIGINT:  # torchrun repeats its SIGTERM, a user means it
            signal.signal(number, before[signal.SIGINT])
            logger.warning("stopping after this step; interrupt again to stop at once")

    for number in before:
        signal.signal(number, stop)
    try:
        yield lambda: stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
