"""The options that name photos and masks, for training and evaluation alike."""

from dataclasses import dataclass, field
from pathlib import Path

from u2cut.describe import Options, option
from u2cut.errors import UsageError


@dataclass(frozen=True, slots=True)
class DataOptions(Options):
    """Photos with masks, as data sets or as two folders."""

    data: list[Path] = field(
        default_factory=list,
        metadata=option(
            "A data set, or a folder with data sets inside; may be repeated. A set has images/ and "
            "masks/ (or NAME-Image/ and NAME-Mask/) with files of the same stems.",
            metavar="DIR",
            shown="none",
        ),
    )
    images: Path | None = field(
        default=None,
        metadata=option("Instead of --data: the folder of the photos.", metavar="DIR"),
    )
    masks: Path | None = field(
        default=None, metadata=option("The folder of the masks of --images.", metavar="DIR")
    )
    ignore: int | None = field(
        default=None,
        metadata=option(
            "Mask value that means unknown: its pixels are left out.",
            metavar="0..255",
            min=0,
            max=255,
        ),
    )
    skip_bad: bool = field(
        default=False, metadata=option("Leave out invalid files, and name them, and go on.")
    )

    def check(self) -> None:
        """Refuse folders that contradict each other."""
        if (self.images is None) != (self.masks is None):
            raise UsageError("--images and --masks go together")
        if self.data and self.images is not None:
            raise UsageError("choose --data DIR, or --images DIR --masks DIR")
