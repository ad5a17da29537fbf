"""The training loop, from top to bottom."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from u2cut.console import logger, progress
from u2cut.errors import Interrupted, UsageError, printable
from u2cut.training.checkpoint import load_checkpoint
from u2cut.training.config import Precision, TrainConfig, check_data
from u2cut.training.data import TrainingData, load_data
from u2cut.training.distributed import ProcessGroup, join_group, leave_group
from u2cut.training.limits import explain_memory, require_compiler
from u2cut.training.outputs import RunFolder
from u2cut.training.trainer import DivergedError, Trainer
from u2cut.training.validate import ALL


def train(config: TrainConfig, out: Path, *, resume: bool = False, quiet: bool = False) -> None:
    """Run a training, or go on with a run that was stopped.

    Args:
        config: The config.
        out: The run's folder.
        resume: Go on after its last checkpoint.
        quiet: Show no progress.

    Raises:
        UsageError: The config doesn't say what to train on, or doesn't fit the machine.
        DataError: The data is invalid, memory is short, or the run has diverged.
        DeviceError: The device isn't there, or torch can't compile for it.
        Interrupted: Stopped by the user, after a checkpoint was saved.
    """
    check_data(config)
    group = join_group(config.device)
    try:
        _check_machine(config, group)
        with explain_memory(config, group.world_size):
            data = _load_together(config, out, group, quiet=quiet)
            trainer = Trainer.start(config, data, group, estimate=not resume)
            if resume:
                trainer.load_state_dict(load_checkpoint(out / "checkpoints"))
            folder = RunFolder(out, trainer) if group.is_main_process else None
            _run(trainer, folder, out, quiet=quiet)
    finally:
        leave_group(group)


def _run(trainer: Trainer, folder: RunFolder | None, out: Path, *, quiet: bool) -> None:
    """Take the steps that are left; process 0 has the folder, and evaluates and saves."""
    config, group = trainer.config, trainer.group
    stream = trainer.batches()
    with (
        _stop_signals() as stop_requested,
        progress(trainer.steps, unit="step", quiet=quiet or folder is None) as bar,
    ):
        bar.update(trainer.step)
        while trainer.step < trainer.steps:
            learning_rate = trainer.learning_rate
            terms = trainer.optimise(stream)
            bar.update()

            stop = group.any_wants(stop_requested())
            done = trainer.step == trainer.steps
            if folder:
                folder.count(terms)
                if stop or done or trainer.step % config.log_every == 0:
                    bar.show(folder.log(learning_rate))
                if done or trainer.step % config.eval_every == 0:
                    _evaluate(trainer, folder)
                if stop or done or trainer.step % config.save_every == 0:
                    folder.save_checkpoint()
            if stop and not done:
                raise Interrupted(
                    f"stopped after step {trainer.step}, saved in {printable(out)}; to go on: "
                    f"u2cut train --resume --out {printable(out)}"
                )
    group.barrier()  # for the last evaluation
    if folder:
        folder.finish()


def _evaluate(trainer: Trainer, folder: RunFolder) -> None:
    """Measure; keep the weights if they are the best so far, or if nothing tells.

    Raises:
        DataError: The run has diverged.
    """
    began = time.monotonic()
    try:
        measures, maps = trainer.evaluate()
    except DivergedError as e:
        raise folder.diverged(e) from e
    folder.record_evaluation(measures, maps)
    best = not measures or measures[ALL]["iou"] > trainer.best
    if best:
        trainer.best = measures[ALL]["iou"] if measures else trainer.best
        folder.keep_weights(measures)
    folder.say(measures, best=best)
    folder.pause_clock(time.monotonic() - began)


def _check_machine(config: TrainConfig, group: ProcessGroup) -> None:
    """Refuse, before the photos are read, what this machine or this number of processes can't do.

    Raises:
        UsageError: The batch can't be shared, or batch norm can't be.
        DeviceError: Torch can't compile here.
    """
    if config.batch_size % group.world_size:
        raise UsageError(
            f"--batch-size {config.batch_size} can't be shared by {group.world_size} processes"
        )
    if config.sync_bn and group.world_size > 1 and group.device.type != "cuda":
        raise UsageError(
            "--sync-bn is for GPUs", remedy="leave it out, or keep batch norm with --freeze-bn"
        )
    if config.compile:
        require_compiler(group.device)
    on_cpu = group.device.type == "cpu"
    if config.precision is Precision.FP16 and on_cpu and group.is_main_process:
        logger.warning("--precision fp16 is for GPUs: a CPU is many times slower with it")


def _load_together(
    config: TrainConfig, out: Path, group: ProcessGroup, *, quiet: bool
) -> TrainingData:
    """Let process 0 decode into the cache; the others then find it there."""
    cache = config.cache or out / "cache"
    if group.is_main_process:
        data = load_data(config, cache, quiet=quiet)
    group.barrier()
    return data if group.is_main_process else load_data(config, cache, quiet=True)


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
