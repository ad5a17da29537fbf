"""The options of an evaluation."""

from dataclasses import dataclass, field
from pathlib import Path

from u2cut.datasets.options import DataOptions
from u2cut.describe import option
from u2cut.errors import UsageError
from u2cut.options import Matting


@dataclass(frozen=True, slots=True)
class EvalOptions(DataOptions):
    """The maps that are judged, and the masks that judge them."""

    pred: Path | None = field(
        default=None,
        metadata=option(
            "Judge the maps (or cutouts) of another tool in this folder, DIR/stem.* or "
            "DIR/SET/stem.*, instead of a network.",
            metavar="DIR",
        ),
    )
    matting: Matting | None = field(
        default=None,
        metadata=option(
            "Judge the alpha matte that 'u2cut remove' makes in this way, instead of the "
            "network's map."
        ),
    )
    names: Path | None = field(
        default=None,
        metadata=option(
            "Judge only the photos that this list names, SET/stem on each line.", metavar="FILE"
        ),
    )
    jobs: int | None = field(
        default=None,
        metadata=option(
            "Threads that read and score.",
            "--jobs",
            "-j",
            min=1,
            max=256,
            shown="one a core, up to 8",
        ),
    )

    def check(self) -> None:
        """Refuse what contradicts itself."""
        DataOptions.check(self)
        if not (self.data or self.images):
            raise UsageError("say what to judge with --data DIR, or with --images DIR --masks DIR")
        if self.pred is not None and self.matting is not None:
            raise UsageError("--pred takes maps as they are: leave out --matting")
