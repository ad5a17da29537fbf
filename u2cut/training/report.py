"""What a run tells of itself: a line of figures, metrics.jsonl, pictures, weights and a card."""

import json
import math
import time
from typing import Any

import torch
from torch import Tensor

from u2cut import __version__
from u2cut.errors import DataError
from u2cut.training.checkpoint import save_weights
from u2cut.training.config import TrainConfig
from u2cut.training.sets import TrainingData
from u2cut.training.state import State
from u2cut.training.validate import validate


class Report:
    """Writes into the run's folder; in all processes but the first it writes nothing."""

    def __init__(
        self, config: TrainConfig, state: State, data: TrainingData, steps: int, *, leads: bool
    ) -> None:
        self._config, self._state, self._data, self._steps = config, state, data, steps
        self._leads = leads
        self._path = config.out / "metrics.jsonl"
        self._since, self._at = time.monotonic(), state.step
        if leads:
            self._drop_lines_after(state.step)

    def _drop_lines_after(self, step: int) -> None:
        """Forget what a killed run wrote after its last checkpoint."""
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
            kept = [line for line in lines if json.loads(line)["step"] <= step]
            self._path.write_text("".join(kept), encoding="utf-8")

    def _write(self, record: dict[str, Any]) -> None:
        if self._leads:
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": self._state.step, **record}) + "\n")

    def log(self, terms: Tensor, learning_rate: float) -> str:
        """Record a step; return a short text for the progress line.

        Raises:
            DataError: The loss is no longer a number.
        """
        values = terms.tolist()
        if not all(math.isfinite(v) for v in values):
            raise DataError(
                f"the loss is no longer a number at step {self._state.step}; go on from the last "
                "checkpoint by --resume with a lower --lr, --clip 1, or --precision fp32"
            )
        now, step = time.monotonic(), self._state.step
        photos = (step - self._at) * self._config.batch_size * self._config.accumulate
        speed = photos / max(now - self._since, 1e-9)
        self._since, self._at = now, step
        self._write({"loss": values, "lr": learning_rate, "images_per_s": round(speed, 2)})
        shown = " ".join(f"{v:.3f}" for v in values)
        return f"loss {shown} | lr {learning_rate:.1e} | {speed:.1f} images/s"

    def evaluate(self, device: torch.device) -> None:
        """Measure on the validation set, and write the weights if they are the best so far."""
        if not self._leads:
            return
        began = time.monotonic()
        score = 0.0
        record: dict[str, Any] = {}
        if self._data.val:
            scores = validate(
                self._state.kept,
                self._data.val,
                self._data.val_sets,
                size=self._config.resize,
                device=device,
                autocast=torch.autocast(device.type, torch.bfloat16, self._config.precision == "bf16"),
                batch_size=self._config.batch_size,
            )
            score, record = scores["all"]["iou"], {"val": scores}
            self._write(record)
        if not self._data.val or score > self._state.best:
            self._state.best = score
            save_weights(self._config.out / "model.safetensors", self._state.kept, self._metadata())
        self._since += time.monotonic() - began

    def _metadata(self) -> dict[str, str]:
        return {
            "architecture": self._config.model,
            "input_size": str(self._config.resize),
            "steps": str(self._state.step),
            "batch_size": str(self._config.batch_size),
            "validation_iou": f"{self._state.best:.4f}",
            "u2cut": __version__,
        }

    def finish(self) -> None:
        """Write what belongs to the end of a run."""
