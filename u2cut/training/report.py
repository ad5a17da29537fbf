"""What a run tells of itself while it runs: figures, weights, and pictures of the progress."""

import json
import math
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from u2cut.console import NOTICE, logger
from u2cut.errors import DataError, OutputError, printable
from u2cut.training.cache import VALID
from u2cut.training.checkpoint import write
from u2cut.training.config import TrainConfig
from u2cut.training.data import TrainingData
from u2cut.training.model_card import WEIGHTS, write_weights
from u2cut.training.pictures import draw_curves, draw_sheet
from u2cut.training.state import State
from u2cut.training.validate import ALL, Measures, photo_scores, predict, summarise
from u2cut.weights import read_metadata

BATCH = 8  # photos at a time, and rows of the preview
# A network whose validation IoU falls below half of its best is lost, if it had learnt anything.
DIVERGED: Final = 0.5
LEARNT: Final = 0.2


class Report:
    """Writes into the run's folder.

    Args:
        config: The config.
        out: The run's folder.
        data: What it is fed with.
        state: What changes from step to step.
        device: Where the network is.
    """

    def __init__(
        self, config: TrainConfig, out: Path, data: TrainingData, state: State, device: torch.device
    ) -> None:
        self._config, self._out, self._data = config, out, data
        self._state, self._device = state, device
        self._metrics = out / "metrics.jsonl"
        self._forget_after(state.step)
        self._since, self._at = time.monotonic(), state.step
        self._terms: list[Tensor] = []
        self._kept = _kept_step(out / WEIGHTS)
        self._events = _open_tensorboard(out) if config.tensorboard else None

    def _forget_after(self, step: int) -> None:
        """Drop what a killed run wrote after the checkpoint that it goes on from."""
        if self._metrics.exists():
            kept = [r for r in read_metrics(self._metrics) if r["step"] <= step]
            text = "".join(json.dumps(record) + "\n" for record in kept)
            write(self._metrics, text)

    def count(self, terms: Tensor) -> None:
        """Take note of a step's cross-entropies of the seven outputs, (7,)."""
        self._terms.append(terms)

    def log(self, learning_rate: float) -> str:
        """Record the mean of the steps since the last time; return a text for the progress line.

        Raises:
            DataError: The loss is no longer a number.
            OutputError: It can't be recorded.
        """
        losses, step = torch.stack(self._terms).mean(dim=0).tolist(), self._state.step
        self._terms.clear()
        if not all(math.isfinite(v) for v in losses):
            raise DataError(
                f"the loss is no longer a number at step {step}; go on from the last checkpoint "
                "with --resume and a lower --lr, with --clip 1, or with --precision fp32"
            )
        seconds = max(time.monotonic() - self._since, 1e-9)
        speed = (step - self._at) * self._config.photos_per_step / seconds
        self._since, self._at = time.monotonic(), step
        self._write({"loss": losses, "lr": learning_rate, "images_per_s": round(speed, 2)})
        shown = " ".join(f"{v:.3f}" for v in losses)
        return f"loss {shown}, lr {learning_rate:.1e}, {speed:.1f} images/s"

    def evaluate(self, autocast: AbstractContextManager[object]) -> None:
        """Measure, draw, and write the weights if they are the best so far.

        Args:
            autocast: The precision.

        Raises:
            DataError: The run has diverged.
        """
        began, config, state, data = time.monotonic(), self._config, self._state, self._data
        photos = data.val if len(data.val) else data.cache
        state.kept.eval()
        scores = []
        for first in range(0, len(data.val) or 1, BATCH):
            some = range(first, min(first + BATCH, len(photos)))
            maps = predict(
                state.kept, photos, some, size=config.resize, device=self._device, autocast=autocast
            )
            if not np.isfinite(maps).all():
                raise self._diverged(f"the maps are no longer numbers at step {state.step}")
            if first == 0:
                draw_sheet(self._out / "preview.png", photos, maps)
            for i, outputs in zip(some, maps, strict=True):
                valid = photos.valid(i) == VALID
                scores.append(photo_scores(outputs[0], photos.mask(i), valid))
        measures: Measures = {}
        if len(data.val):
            measures = summarise(scores, data.val_sets)
            self._write({"val": measures})
        best = not measures or measures[ALL]["iou"] > state.best
        if best:
            state.best = measures[ALL]["iou"] if measures else state.best
            write_weights(self._out, config, state, data, measures)
            self._kept = state.step
        if measures:
            self._judge(measures[ALL], best=best)
        self._since += time.monotonic() - began

    def _judge(self, overall: Mapping[str, float], *, best: bool) -> None:
        """Log a line for a validation.

        Raises:
            DataError: The network fell far below what it was.
        """
        iou, step, found = overall["iou"], self._state.step, self._state.best
        shown = ", ".join(f"{name} {value:.4f}" for name, value in overall.items())
        kept = "the best so far: kept" if best else f"those of step {self._kept} stay"
        logger.info("step %d: %s; %s", step, shown, kept)
        if iou < DIVERGED * found and found > LEARNT:
            raise self._diverged(f"validation IoU {iou:.3f} at step {step}, {found:.3f} before")

    def _diverged(self, how: str) -> DataError:
        weights = self._out / WEIGHTS
        kept = "no weights are kept"
        if weights.exists():
            kept = f"{printable(weights)} holds the weights of step {self._kept}"
        return DataError(f"the run has diverged: {how}; {kept}; try a lower --lr, or --clip 1")

    def finish(self) -> None:
        """Draw the curves; close what is open; say which weights are kept."""
        which = "the best by validation IoU" if len(self._data.val) else "the last"
        logger.log(
            NOTICE,
            "%s: the weights of step %d, %s",
            printable(self._out / WEIGHTS),
            self._kept,
            which,
        )
        draw_curves(self._out / "curves.png", read_metrics(self._metrics))
        if self._events is not None:
            self._events.close()

    def _write(self, record: dict[str, Any]) -> None:
        try:
            with self._metrics.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": self._state.step, **record}) + "\n")
        except OSError as e:
            raise OutputError.from_os(e, self._metrics, "can't be written") from e
        if self._events is not None:
            for name, value in _flat(record):
                self._events.add_scalar(name, value, self._state.step)


def _kept_step(weights: Path) -> int:
    """Return the step of the weights that a run has kept so far; 0 without any."""
    return int(read_metadata(weights).get("steps", 0)) if weights.exists() else 0


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read ``metrics.jsonl``; a last line that a killed run left unfinished is left out."""
    records = []
    for line in path.read_text("utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records


def _flat(record: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    values: list[tuple[str, float]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            values += _flat(value, f"{prefix}{key}/")
        elif isinstance(value, list):
            values += [(f"{prefix}{key}/{i}", v) for i, v in enumerate(value)]
        else:
            values.append((prefix + key, value))
    return values


def _open_tensorboard(out: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(out / "tensorboard"))
