"""The options of a watched folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from u2cut.describe import Options, option


@dataclass(frozen=True, slots=True)
class WatchOptions(Options):
    """The options of a watched folder."""

    PANELS: ClassVar[Mapping[str, str]] = {"settle": "Watching"}

    settle: float = field(
        default=2.0,
        metadata=option(
            "Take a file when it hasn't changed for this long.", metavar="SECONDS", min=0, max=3600
        ),
    )
    every: float = field(
        default=2.0,
        metadata=option("Look this often.", metavar="SECONDS", min=0.1, max=3600),
    )
    move_done: Path | None = field(
        default=None,
        metadata=option("Move photos that are done into DIR.", metavar="DIR"),
    )
    failed: Path | None = field(
        default=None,
        metadata=option(
            "Move photos that failed into DIR, with a .txt that says why.", metavar="DIR"
        ),
    )
    once: bool = field(default=False, metadata=option("End when all that is there is done."))
