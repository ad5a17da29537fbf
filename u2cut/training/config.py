"""Everything that a training run can be told.

The defaults are the published training (xuebinqin/U-2-Net, u2net_train.py). Each field is an
option of ``u2cut train`` and a key of its TOML file (``configfile``). Nothing
heavy is imported here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

from u2cut.datasets.options import DataOptions
from u2cut.describe import option
from u2cut.errors import UsageError

OUTPUTS: Final = 7  # the fused map and six side outputs
LARGEST: Final = 4096  # pixels: as long as weights are used
SMALLEST: Final = 64  # pixels; below, batch norm has one value a channel at the network's bottom


class Network(StrEnum):
    """One of the paper's two networks."""

    U2NET = "u2net"
    U2NETP = "u2netp"


class Optimizer(StrEnum):
    """The optimiser."""

    ADAM = "adam"
    ADAMW = "adamw"
    MUON = "muon"


class Schedule(StrEnum):
    """The learning rate after the warm-up."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Precision(StrEnum):
    """The precision that the network computes in; the loss is always fp32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


@dataclass(frozen=True, slots=True)
class TrainConfig(DataOptions):
    """All options of ``u2cut train``; each field's text is its option's help."""

    PANELS: ClassVar[Mapping[str, str]] = {
        "data": "Data",
        "model": "Network",
        "steps": "Length",
        "resize": "Augmentation",
        "loss_weights": "Loss",
        "optimizer": "Optimisation",
        "device": "Machine",
        "eval_every": "Record",
    }

    # Data
    data_weight: list[float] = field(
        default_factory=list,
        metadata=option(
            "How often an epoch shows a photo of each --data, in their order.",
            metavar="TIMES",
            min=0,
            shown="1 each",
        ),
    )
    val: list[Path] = field(
        default_factory=list,
        metadata=option(
            "Data to measure on, like --data; may be repeated.", metavar="DIR", shown="none"
        ),
    )
    val_split: float = field(
        default=0.0,
        metadata=option("Share of each --data to measure on instead.", min=0, max=0.9),
    )
    val_names: Path | None = field(
        default=None,
        metadata=option(
            "List of the photos of --data to measure on instead, SET/stem on each line.",
            metavar="FILE",
        ),
    )
    distill: str = field(
        default="none",
        metadata=option(
            "Learn what another network sees, the one that these weights hold, instead of the "
            "masks alone: a name, a file, or 'none'.",
            metavar="NAME|FILE|none",
        ),
    )
    distill_share: list[float] = field(
        default_factory=list,
        metadata=option(
            "Weight of what the --distill network sees, the mask having the rest; once, or once "
            "for each --data.",
            metavar="0..1",
            min=0,
            max=1,
            shown="1",
        ),
    )
    unlabelled: list[Path] = field(
        default_factory=list,
        metadata=option(
            "Folder of photos without masks, for --distill; may be repeated.",
            metavar="DIR",
            shown="none",
        ),
    )
    cache: Path | None = field(
        default=None,
        metadata=option(
            "Folder for the decoded photos; runs may share it.", metavar="DIR", shown="RUN/cache"
        ),
    )
    workers: int = field(
        default=2,
        metadata=option("Processes that prepare batches, per training process.", min=0, max=256),
    )

    # Network
    model: Network = field(default=Network.U2NET, metadata=option("The network."))
    init: str = field(
        default="none",
        metadata=option(
            "Weights to start from: a name ('u2cut weights list'), a file, or 'none'.",
            metavar="NAME|FILE|none",
        ),
    )
    freeze: list[str] = field(
        default_factory=list,
        metadata=option(
            "Part that keeps its weights: stage1 ... stage6, stage5d ... stage1d, side1 ... "
            "side6, outconv; may be repeated.",
            metavar="PART",
            shown="none",
        ),
    )
    freeze_bn: bool = field(
        default=False,
        metadata=option(
            "Keep the batch norm statistics of --init, and normalise by them: for small batches "
            "and short runs."
        ),
    )

    # Length
    steps: int = field(
        default=0, metadata=option("Optimiser steps in all; 0 counts by --epochs.", min=0)
    )
    epochs: int = field(
        default=100, metadata=option("Passes over the data, unless --steps is given.", min=1)
    )
    batch_size: int = field(
        default=12, metadata=option("Photos in a batch, of all processes together.", min=1)
    )
    accumulate: int = field(default=1, metadata=option("Batches in an optimiser step.", min=1))
    seed: int = field(default=0, metadata=option("Seed of all that is random.", min=0))

    # Augmentation
    resize: int = field(
        default=320,
        metadata=option("Side that photos are squashed to, in pixels.", min=SMALLEST, max=LARGEST),
    )
    crop: int = field(
        default=288,
        metadata=option("Side of a random crop of that, in pixels; 0 shows the whole.", min=0),
    )
    hflip: float = field(
        default=0.5, metadata=option("Probability of a mirror image.", min=0, max=1)
    )
    vflip: float = field(
        default=0.5, metadata=option("Probability of an upside-down image.", min=0, max=1)
    )
    scale: float = field(
        default=0.0, metadata=option("Enlarge or shrink by up to this share.", min=0, max=0.9)
    )
    aspect: float = field(
        default=0.0, metadata=option("Stretch one axis by up to this share.", min=0, max=0.9)
    )
    rotation: float = field(
        default=0.0, metadata=option("Rotate by up to this many degrees.", min=0, max=180)
    )
    color_jitter: float = field(
        default=0.0,
        metadata=option(
            "Change brightness, contrast and saturation by up to this share.", min=0, max=1
        ),
    )
    degrade: float = field(
        default=0.0, metadata=option("Probability of blur, noise or JPEG artefacts.", min=0, max=1)
    )
    backgrounds: list[Path] = field(
        default_factory=list,
        metadata=option(
            "Folder of photos for --paste; may be repeated.", metavar="DIR", shown="none"
        ),
    )
    paste: list[float] = field(
        default_factory=list,
        metadata=option(
            "Probability that the subject is cut out and put on another background; once, or once "
            "for each --data.",
            metavar="0..1",
            min=0,
            max=1,
            shown="0",
        ),
    )

    # Loss
    loss_weights: list[float] = field(
        default_factory=list,
        metadata=option(
            "Weights of the cross-entropies of the fused map and side outputs 1 to 6; 7 times.",
            metavar="WEIGHT",
            min=0,
            shown="1 each",
        ),
    )
    iou: float = field(
        default=0.0,
        metadata=option("Weight of an IoU loss on the fused map (u2cut's own).", min=0),
    )
    ssim: float = field(
        default=0.0,
        metadata=option("Weight of an SSIM loss on the fused map (u2cut's own).", min=0),
    )

    # Optimisation
    optimizer: Optimizer = field(
        default=Optimizer.ADAM,
        metadata=option("The optimiser; muon learns more from each photo in long runs."),
    )
    lr: float = field(default=1e-3, metadata=option("Learning rate.", min=0))
    weight_decay: float = field(default=0.0, metadata=option("Weight decay.", min=0))
    schedule: Schedule = field(
        default=Schedule.CONSTANT, metadata=option("Learning rate after the warm-up.")
    )
    warmup: int = field(
        default=0, metadata=option("Steps in which the learning rate rises from 0.", min=0)
    )
    ema: float = field(
        default=0.0,
        metadata=option(
            "Decay of a moving average of the weights, which is then what is measured and kept; "
            "0 is off.",
            min=0,
            max=0.99999,
        ),
    )
    clip: float = field(
        default=0.0, metadata=option("Greatest norm of the gradient; 0 is off.", min=0)
    )

    # Machine
    device: str = field(
        default="auto", metadata=option("auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE")
    )
    precision: Precision = field(
        default=Precision.FP32, metadata=option("What the network computes in.")
    )
    compile: bool = field(
        default=False, metadata=option("Compile the network; takes minutes, for long runs.")
    )
    sync_bn: bool = field(
        default=False, metadata=option("Batch norm over the photos of all processes.")
    )

    # Record
    eval_every: int = field(default=500, metadata=option("Steps between measurements.", min=1))
    save_every: int = field(default=500, metadata=option("Steps between checkpoints.", min=1))
    keep: int = field(default=2, metadata=option("Checkpoints that are kept.", min=1))
    log_every: int = field(
        default=20, metadata=option("Steps between lines of metrics.jsonl.", min=1)
    )
    tensorboard: bool = field(
        default=False, metadata=option("Write TensorBoard events too; needs u2cut[tensorboard].")
    )

    def check(self) -> None:
        """Refuse what contradicts itself, whatever the data."""
        DataOptions.check(self)
        if self.freeze_bn and self.init == "none":
            raise UsageError(
                "--freeze-bn keeps the statistics of trained weights; name them by --init"
            )
        if self.crop > self.resize:
            raise UsageError(f"--crop {self.crop} does not fit into --resize {self.resize}")
        if 0 < self.crop < SMALLEST:
            raise UsageError(f"--crop is at least {SMALLEST}, or 0")
        if len(self.loss_weights) not in (0, OUTPUTS):
            raise UsageError(f"--loss-weights takes {OUTPUTS} weights: fused, then sides 1 to 6")
        if sum(map(bool, (self.val, self.val_split, self.val_names))) > 1:
            raise UsageError("choose one of --val, --val-split and --val-names")
        if any(self.paste) and not self.backgrounds:
            raise UsageError("--paste needs --backgrounds DIR")
        if self.distill == "none" and (self.unlabelled or self.distill_share):
            raise UsageError("--unlabelled and --distill-share need --distill NAME|FILE")
        self._check_lists()

    def _check_lists(self) -> None:
        folders = max(1, len(self.data))
        if len(self.data_weight) not in (0, folders):
            raise UsageError("--data-weight is given once for each --data")
        for name, values in (("paste", self.paste), ("distill-share", self.distill_share)):
            if len(values) not in (0, 1, folders):
                raise UsageError(f"--{name} is given once, or once for each --data")

    @property
    def input_size(self) -> int:
        """Side of what the network is shown in training, in pixels."""
        return self.crop or self.resize

    @property
    def cache_size(self) -> int:
        """Side of the cached photos, in pixels: with a reserve for enlarging, if need be."""
        exact = self.scale == 0 and self.aspect == 0 and self.rotation == 0
        return self.resize if exact else round(self.resize * 1.25)

    @property
    def photos_per_step(self) -> int:
        """Photos that an optimiser step sees, over all processes."""
        return self.batch_size * self.accumulate

    def for_each_folder(self, values: list[float], default: float) -> list[float]:
        """Spread ``values`` over the training folders: none, one for all, or one each."""
        count = max(1, len(self.data))
        return list(values) if len(values) == count else (list(values) or [default]) * count


def check_data(config: TrainConfig) -> None:
    """Refuse a config that doesn't say what to train on.

    Raises:
        UsageError: It doesn't.
    """
    if not (config.data or config.images or config.unlabelled):
        raise UsageError("say what to train on with --data DIR, or with --images DIR --masks DIR")
