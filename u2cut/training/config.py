"""Everything that a training run can be told, and nothing about the command line.

The defaults are the published recipe (xuebinqin/U-2-Net, u2net_train.py). Each field is an
option of ``u2cut train`` and a key of its TOML file; the text beside it is the option's help.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_args, get_origin

from u2cut.errors import DataError, UsageError
from u2cut.stdio import printable

OUTPUTS = 7  # the fused map and six side outputs


def _told(
    default: Any, help: str, *, choices: tuple[str, ...] = (), low: float = 0, high: float = 0
) -> Any:
    """Declare a field; ``low`` and ``high`` bound a number, ``high`` 0 leaves it open above."""
    return field(
        default=default,
        metadata={"help": help, "choices": choices, "low": low, "high": high},
    )


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """What ``u2cut train`` does; see each field's help."""

    data: tuple[Path, ...] = _told(
        (), "Folder of training pairs (images/ and masks/, or *-Image and *-Mask); repeatable."
    )
    data_weight: tuple[float, ...] = _told(
        (), "How often a photo of each --data is drawn in an epoch, in the same order [1]."
    )
    images: Path | None = _told(None, "Folder of photos, in place of --data; needs --masks.")
    masks: Path | None = _told(None, "Folder of their masks.")
    val: tuple[Path, ...] = _told(
        (), "Folder of validation pairs; repeatable, each is measured by itself."
    )
    val_split: float = _told(
        0.0, "Share of the training pairs to hold back for validation.", high=0.9
    )
    ignore_value: int | None = _told(
        None, "Mask value (0-255) that means unknown and is left out of loss and metrics.", high=255
    )
    skip_bad: bool = _told(False, "Train without the pairs that the data check finds fault with.")
    cache: Path | None = _told(
        None, "Folder for the decoded photos, to share between runs [RUN/cache]."
    )
    workers: int = _told(2, "Processes that prepare batches, for each training process.")

    out: Path = _told(Path("run"), "Folder of the run.")
    model: str = _told("u2net", "Network.", choices=("u2net", "u2netp"))
    init: str = _told("none", "Weights to start from: a known name, a file, or none.")
    freeze: tuple[str, ...] = _told(
        (), "Part of the network that keeps its weights, such as stage1 or side6; repeatable."
    )

    steps: int = _told(0, "Optimiser steps; 0 counts by --epochs.")
    epochs: int = _told(100, "Passes over the data, when --steps is 0.", low=1)
    batch_size: int = _told(12, "Photos in a batch, over all processes together.", low=1)
    accumulate: int = _told(1, "Batches in an optimiser step.", low=1)
    seed: int = _told(0, "Seed of everything random.")

    resize: int = _told(320, "Side that photos are squashed to, in pixels.", low=32)
    crop: int = _told(288, "Side of the random crop from it, in pixels; 0 takes the whole.")
    hflip: float = _told(0.5, "Probability of a mirror image.", high=1)
    vflip: float = _told(0.5, "Probability of an upside-down image.", high=1)
    scale: float = _told(0.0, "Zoom in or out by up to this share.", high=0.9)
    aspect: float = _told(0.0, "Stretch one axis by up to this share.", high=0.9)
    rotation: float = _told(0.0, "Rotate by up to this many degrees.", high=180)
    color_jitter: float = _told(
        0.0, "Change brightness, contrast, saturation by up to this share.", high=1
    )
    degrade: float = _told(0.0, "Probability of blur, noise or JPEG artefacts.", high=1)
    backgrounds: tuple[Path, ...] = _told(
        (), "Folder of photos to put behind cut-out subjects; repeatable."
    )
    paste: tuple[float, ...] = _told(
        (), "Probability that a subject is put on another background; one for all or one per --data."
    )

    loss_weights: tuple[float, ...] = _told(
        (1.0,) * OUTPUTS, "Weights of the cross-entropy of the fused map and side outputs 1 to 6."
    )
    iou: float = _told(0.0, "Weight of an IoU term on the fused map (not in the paper).")
    ssim: float = _told(0.0, "Weight of an SSIM term on the fused map (not in the paper).")

    optimizer: str = _told("adam", "Optimiser.", choices=("adam", "adamw"))
    lr: float = _told(1e-3, "Learning rate.")
    weight_decay: float = _told(0.0, "Weight decay.")
    schedule: str = _told(
        "constant", "Learning rate after the warm-up.", choices=("constant", "cosine")
    )
    warmup: int = _told(0, "Steps over which the learning rate rises to its value.")
    ema: float = _told(
        0.0, "Decay of the weights' moving average, which is then what is kept; 0 is off.", high=1
    )
    clip: float = _told(0.0, "Longest gradient that is not shortened; 0 is off.")

    device: str = _told("auto", "Device: auto, cpu, cuda or mps.")
    precision: str = _told("fp32", "Arithmetic.", choices=("fp32", "bf16", "fp16"))
    compile: bool = _told(False, "Compile the network first (minutes; worth it on a GPU).")
    sync_bn: bool = _told(False, "Batch norm over all processes' photos.")

    eval_every: int = _told(500, "Steps between evaluations.", low=1)
    save_every: int = _told(500, "Steps between checkpoints.", low=1)
    keep: int = _told(2, "Checkpoints to keep.", low=1)
    log_every: int = _told(20, "Steps between lines of metrics.jsonl.", low=1)
    tensorboard: bool = _told(False, "Write TensorBoard events into the run too.")

    @property
    def input_size(self) -> int:
        """Side of what the network is shown in training, in pixels."""
        return self.crop or self.resize

    @property
    def cache_size(self) -> int:
        """Side of the cached photos, in pixels: a reserve for zooming in."""
        exact = self.scale == 0 and self.aspect == 0 and self.rotation == 0
        return self.resize if exact else round(self.resize * 1.25)

    def per_folder(self, values: tuple[float, ...], default: float) -> tuple[float, ...]:
        """Spread ``values`` over the training folders: none, one for all, or one each."""
        count = max(1, len(self.data))
        return (values or (default,)) * (1 if len(values) == count else count)


def check(config: TrainConfig) -> None:
    """Refuse what contradicts itself, before anything heavy is imported.

    Raises:
        UsageError: Naming the option and its bounds.
    """
    for f in fields(config):
        value, meta, option = getattr(config, f.name), f.metadata, "--" + f.name.replace("_", "-")
        if meta["choices"] and value not in meta["choices"]:
            raise UsageError(f"{option} is one of {', '.join(meta['choices'])}, not {value!r}")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, bool) or not isinstance(number, int | float):
                continue
            if not (meta["low"] <= number <= (meta["high"] or float("inf"))):
                upper = f" and at most {meta['high']:g}" if meta["high"] else ""
                raise UsageError(f"{option} is at least {meta['low']:g}{upper}, not {number:g}")
    _check_combinations(config)


def _check_combinations(config: TrainConfig) -> None:
    folders = max(1, len(config.data))
    if bool(config.data) == bool(config.images) or bool(config.images) != bool(config.masks):
        raise UsageError("training needs --data DIR, or --images DIR with --masks DIR")
    if config.val and config.val_split:
        raise UsageError("--val and --val-split exclude each other")
    if config.crop > config.resize:
        raise UsageError(f"--crop {config.crop} does not fit into --resize {config.resize}")
    if 0 < config.crop < 32:
        raise UsageError("--crop is at least 32, or 0 for no crop")
    if len(config.data_weight) not in (0, folders):
        raise UsageError("--data-weight is given once for each --data, in the same order")
    if len(config.paste) not in (0, 1, folders):
        raise UsageError("--paste is given once, or once for each --data")
    if any(config.paste) and not config.backgrounds:
        raise UsageError("--paste needs --backgrounds DIR")
    if any(p > 1 for p in config.paste):
        raise UsageError("--paste is a probability, 0 to 1")
    if len(config.loss_weights) != OUTPUTS:
        raise UsageError(f"--loss-weights is given {OUTPUTS} times: fused, then side 1 to side 6")
    if config.ema >= 1:
        raise UsageError("--ema is below 1")


def load_config(path: Path) -> dict[str, Any]:
    """Read options from a TOML file; relative paths are the working folder's.

    Raises:
        DataError: It can't be read, or has an unknown key or a value of the wrong type.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise DataError(f"{printable(path)}: not a readable TOML file: {printable(e)}") from e
    types = {f.name: f.type for f in fields(TrainConfig)}
    unknown = sorted(set(table) - set(types))
    if unknown:
        raise DataError(f"{printable(path)}: unknown key {printable(unknown[0])!r}")
    try:
        return {key: _typed(value, types[key]) for key, value in table.items()}
    except (TypeError, ValueError) as e:
        raise DataError(f"{printable(path)}: {printable(e)}") from e


def _typed(value: Any, kind: Any) -> Any:
    """Turn a TOML value into the type of its field."""
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise TypeError(f"{value!r} is not a list")
        return tuple(_typed(v, get_args(kind)[0]) for v in value)
    if get_args(kind):  # X | None; TOML has no null, an absent key stands for it
        kind = next(k for k in get_args(kind) if k is not type(None))
    wanted = {Path: str, float: (int, float)}.get(kind, kind)
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"{value!r} is not a {kind.__name__}")
    return kind(value)


def merge(config: TrainConfig, options: Mapping[str, Any]) -> TrainConfig:
    """Return ``config`` with those of ``options`` that are set."""
    return replace(config, **{k: v for k, v in options.items() if v is not None})


def dump_config(config: TrainConfig) -> str:
    """Write every field as TOML; ``load_config`` gives the same config back."""
    lines = []
    for f in fields(config):
        value = getattr(config, f.name)
        if value is not None:
            lines.append(f"{f.name} = {_toml(value)}\n")
    return "".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F or c in '"\\' else c
        for c in str(value)
    )
    return f'"{text}"'
