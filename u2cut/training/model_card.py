"""What a run hands over: the weights with what they are written into them, and a model card."""

from pathlib import Path

from u2cut.training.checkpoint import save_weights, write
from u2cut.training.config import TrainConfig
from u2cut.training.configfile import format_config
from u2cut.training.data import TrainingData
from u2cut.training.state import State
from u2cut.training.validate import ALL, Measures
from u2cut.version import __version__

WEIGHTS = "model.safetensors"
LICENCE = "Apache-2.0 for code and format; the weights' use follows the training photos' terms"


def write_weights(
    out: Path, config: TrainConfig, state: State, data: TrainingData, measures: Measures
) -> None:
    """Write ``model.safetensors`` and its card, ``model.md``.

    Args:
        out: The run's folder.
        config: The config.
        state: The weights.
        data: What they were trained on.
        measures: What they reach on the validation set; empty without one.
    """
    metadata = {
        "architecture": config.model.value,
        "input_size": str(config.resize),
        "init": config.init,
        "data": ", ".join(p.name for p in [*config.data, *filter(None, [config.images])]),
        "pairs": str(len(data.cache)),
        "steps": str(state.step),
        "samples": str(state.step * config.photos_per_step),
        "licence": LICENCE,
        "u2cut": __version__,
    }
    if measures:
        metadata |= {f"validation_{k}": f"{v:.4f}" for k, v in measures[ALL].items()}
    save_weights(out / WEIGHTS, state.kept, metadata)
    text = _card(metadata, config, measures)
    write(out / "model.md", text)


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
