"""The folder of a run: figures and pictures of the progress, the weights and their model card."""

import importlib.util
import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from u2cut.console import NOTICE, logger
from u2cut.errors import DataError, OutputError, printable
from u2cut.training.checkpoint import save_checkpoint, save_weights, write
from u2cut.training.config import TrainConfig
from u2cut.training.config_file import format_config
from u2cut.training.trainer import Trainer
from u2cut.training.validate import ALL, Measures, draw_sheet
from u2cut.version import __version__
from u2cut.weights import read_metadata
from u2cut.weights.choose import RUN_WEIGHTS

WEIGHTS = RUN_WEIGHTS
LICENCE = "Apache-2.0 for code and format; the weights' use follows the training photos' terms"


_LEAST_SPAN: Final = 0.1  # of a measure's axis: less would make noise look like progress


class RunFolder:
    """Writes into the run's folder, as the run goes on.

    Args:
        out: The folder.
        trainer: What is trained.

    Raises:
        OutputError: It can't be written.
    """

    def __init__(self, out: Path, trainer: Trainer) -> None:
        self.out, self._trainer, self._config = out, trainer, trainer.config
        write(out / "config.toml", format_config(trainer.config))
        self._metrics = out / "metrics.jsonl"
        self._forget_after(trainer.step)
        self._since, self._at = time.monotonic(), trainer.step
        self._terms: list[Tensor] = []
        self._kept = _kept_step(out / WEIGHTS)
        self._events = _open_tensorboard(out) if trainer.config.tensorboard else None

    def _forget_after(self, step: int) -> None:
        """Drop what a killed run wrote after the checkpoint that it goes on from."""
        if self._metrics.exists():
            kept = [r for r in read_metrics(self._metrics) if r["step"] <= step]
            write(self._metrics, "".join(json.dumps(record) + "\n" for record in kept))

    def count(self, terms: Tensor) -> None:
        """Take note of a step's cross-entropies of the seven outputs, (7,)."""
        self._terms.append(terms)

    def log(self, learning_rate: float) -> str:
        """Record the mean of the steps since the last time; return a text for the progress line.

        Raises:
            DataError: The loss is no longer a number.
            OutputError: It can't be recorded.
        """
        losses, step = torch.stack(self._terms).mean(dim=0).tolist(), self._trainer.step
        self._terms.clear()
        if not all(math.isfinite(v) for v in losses):
            raise DataError(
                f"the loss is no longer a number at step {step}",
                remedy="go on from the last checkpoint with --resume and a lower --lr, "
                "with --clip 1, or with --precision fp32",
            )
        seconds = max(time.monotonic() - self._since, 1e-9)
        speed = (step - self._at) * self._config.photos_per_step / seconds
        self._since, self._at = time.monotonic(), step
        self._record({"loss": losses, "lr": learning_rate, "images_per_s": round(speed, 2)})
        return f"loss {losses[0]:.3f}, all {sum(losses):.2f}, {speed:.1f} images/s"

    def record_evaluation(self, measures: Measures, maps: NDArray[np.float32]) -> None:
        """Record what a validation found, and draw what the network sees.

        Args:
            measures: By set; empty without validation photos.
            maps: The seven maps of the first photos, (B, 7, S, S) in [0, 1].
        """
        draw_sheet(self.out / "preview.png", self._trainer.shown, maps, self._trainer.step)
        if measures:
            self._record({"val": measures})

    def keep_weights(self, measures: Measures) -> None:
        """Write ``model.safetensors`` and its card, ``model.md``.

        Args:
            measures: What the weights reach on the validation photos; empty without any.
        """
        config, trainer = self._config, self._trainer
        metadata = {
            "architecture": config.model.value,
            "input_size": str(config.resize),
            "init": config.init,
            "data": ", ".join(p.name for p in [*config.data, *filter(None, [config.images])]),
            "pairs": str(len(trainer.data.cache)),
            "steps": str(trainer.step),
            "samples": str(trainer.step * config.photos_per_step),
            "licence": LICENCE,
            "u2cut": __version__,
        }
        if measures:
            metadata |= {f"validation_{k}": f"{v:.4f}" for k, v in measures[ALL].items()}
        save_weights(self.out / WEIGHTS, trainer.kept, metadata)
        write(self.out / "model.md", _card(metadata, config, measures))
        self._kept = trainer.step

    def say(self, measures: Measures, *, best: bool) -> None:
        """Log a line for a validation."""
        if measures:
            shown = ", ".join(f"{name} {value:.4f}" for name, value in measures[ALL].items())
            kept = "the best so far: kept" if best else f"those of step {self._kept} stay"
            logger.info("step %d: %s; %s", self._trainer.step, shown, kept)

    def diverged(self, error: DataError) -> DataError:
        """Return the error that ends a run which has diverged: it says what is left of it."""
        weights = self.out / WEIGHTS
        kept = "no weights are kept"
        if weights.exists():
            kept = f"{printable(weights)} holds the weights of step {self._kept}"
        return DataError(
            f"the run has diverged: {error}; {kept}", remedy="try a lower --lr, or --clip 1"
        )

    def save_checkpoint(self) -> None:
        """Write what ``--resume`` goes on from."""
        folder, trainer = self.out / "checkpoints", self._trainer
        save_checkpoint(folder, trainer.step, trainer.state_dict(), self._config.keep)

    def pause_clock(self, seconds: float) -> None:
        """Leave seconds that were no training out of the speed."""
        self._since += seconds

    def finish(self) -> None:
        """Draw the curves; close what is open; say which weights are kept."""
        which = "the best by validation IoU" if len(self._trainer.data.val) else "the last"
        logger.log(
            NOTICE,
            "%s: the weights of step %d, %s",
            printable(self.out / WEIGHTS),
            self._kept,
            which,
        )
        _draw_curves(self.out / "curves.png", read_metrics(self._metrics))
        if self._events is not None:
            self._events.close()

    def _record(self, record: dict[str, Any]) -> None:
        try:
            with self._metrics.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps({"step": self._trainer.step, **record}) + "\n")
        except OSError as e:
            raise OutputError.from_os(e, self._metrics, "can't be written") from e
        if self._events is not None:
            for name, value in _flat(record):
                self._events.add_scalar(name, value, self._trainer.step)


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


def _card(metadata: dict[str, str], config: TrainConfig, measures: Measures) -> str:
    lines = [
        f"# {WEIGHTS}",
        "",
        "Weights of U²-Net (Qin et al., Pattern Recognition 106, 2020) for u2cut:",
        f"`u2cut remove PHOTO --weights {WEIGHTS}`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in metadata.items()),
        "",
    ]
    if measures:
        lines += [
            "## On photos that it never trained on",
            "",
            "| set | IoU | MAE |",
            "|---|---|---|",
            *(f"| {name} | {m['iou']:.3f} | {m['mae']:.3f} |" for name, m in measures.items()),
            "",
        ]
    lines += ["## Recipe", "", "```toml", format_config(config).rstrip(), "```", ""]
    return "\n".join(lines)


def _draw_curves(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a PNG with the fused map's loss and the validation measures over the steps.

    Without matplotlib, only say how to get it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        logger.warning("no %s: it needs matplotlib, pip install 'u2cut[train]'", path.name)
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measured = [r for r in records if "val" in r]
    panels = 3 if measured else 1  # nobody wants empty ones
    figure = Figure(figsize=(4.5 * panels, 4), layout="constrained")
    losses, *others = figure.subplots(1, panels, squeeze=False)[0]
    logged = [r for r in records if "loss" in r]
    losses.plot([r["step"] for r in logged], [r["loss"][0] for r in logged])
    losses.set(xlabel="step", ylabel="cross-entropy of the fused map")
    for axes, measure, label in zip(
        others, ("iou", "mae"), ("IoU", "mean absolute error"), strict=False
    ):
        for name in measured[0]["val"]:
            steps = [r["step"] for r in measured]
            style = {"color": "black", "linewidth": 2.5} if name == ALL else {"linewidth": 0.8}
            axes.plot(steps, [r["val"][name][measure] for r in measured], label=name, **style)
        low, high = axes.get_ylim()
        middle, half = (low + high) / 2, max((high - low) / 2, _LEAST_SPAN / 2)
        axes.set(xlabel="step", ylabel=f"validation {label}", ylim=(middle - half, middle + half))
        axes.legend(fontsize=6)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    write(path, buffer.getvalue())
