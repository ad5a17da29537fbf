"""The options of the service."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

from u2cut.describe import Options, option
from u2cut.errors import UsageError, printable

_UNITS: Final = {"": 1, "K": 1000, "M": 1_000_000, "G": 1_000_000_000}
LOOPBACK: Final = frozenset(("127.0.0.1", "::1", "localhost"))


class Compat(StrEnum):
    """Another service whose requests are understood."""

    REMOVEBG = "removebg"
    REMBG = "rembg"


def parse_amount(text: str) -> int:
    """Read a number with an optional K, M or G behind it, as ``32M``.

    Raises:
        UsageError: It is none.
    """
    match = re.fullmatch(r"(\d{1,12})\s*([KMG]?)B?", text.strip().upper(), re.ASCII)
    if match is None:
        raise UsageError(f"no amount: {printable(text)} (give a number, as 32M)")
    return int(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True)
class ServeOptions(Options):
    """Where the service listens, and what it lets in."""

    PANELS: ClassVar[Mapping[str, str]] = {"host": "Service"}

    host: str = field(
        default="127.0.0.1",
        metadata=option("Address to listen on; 0.0.0.0 is every network.", metavar="ADDRESS"),
    )
    port: int = field(
        default=8000, metadata=option("Port to listen on; 0 takes a free one.", min=0, max=65535)
    )
    token_file: Path | None = field(
        default=None,
        metadata=option(
            "Let in only who sends the token in this file, as X-Api-Key or Authorization: Bearer.",
            metavar="FILE",
        ),
    )
    allow_urls: bool = field(
        default=False,
        metadata=option("Fetch photos by address for clients; public addresses only."),
    )
    queue: int = field(
        default=32,
        metadata=option("Requests under way at most; further ones get 503.", min=1, max=10_000),
    )
    max_body: int = field(
        default=32_000_000,
        metadata=option(
            "Refuse longer requests.", metavar="BYTES", min=1, parser=parse_amount, shown="32M"
        ),
    )
    max_pixels: int = field(
        default=50_000_000,
        metadata=option(
            "Refuse larger photos.", metavar="PIXELS", min=1, parser=parse_amount, shown="50M"
        ),
    )
    queue_pixels: int = field(
        default=100_000_000,
        metadata=option(
            "Pixels of all photos that are decoded at once; more wait.",
            metavar="PIXELS",
            min=1,
            parser=parse_amount,
            shown="100M",
        ),
    )
    timeout: float = field(
        default=60.0, metadata=option("Give up on a request after this.", metavar="SECONDS", min=1)
    )
    grace: float = field(
        default=30.0,
        metadata=option(
            "Finish what is under way for so long when asked to end.", metavar="SECONDS", min=0
        ),
    )
    cors: list[str] = field(
        default_factory=list,
        metadata=option(
            "Let web pages of this origin use the service; may be repeated.",
            metavar="ORIGIN",
            shown="none",
        ),
    )
    no_page: bool = field(default=False, metadata=option("Serve no web page."))
    compat: list[Compat] = field(
        default_factory=list,
        metadata=option(
            "Also understand requests to this service (removebg, rembg); may be repeated.",
            metavar="NAME",
            shown="none",
        ),
    )
    jobs: int | None = field(
        default=None,
        metadata=option(
            "Photos decoded or finished at once.",
            "--jobs",
            "-j",
            min=1,
            max=256,
            shown="one a core, up to 8",
        ),
    )
    quiet: bool = field(default=False, metadata=option("Say nothing but errors.", "--quiet", "-q"))
    verbose: bool = field(
        default=False, metadata=option("Say what is used and why.", "--verbose", "-v")
    )

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.quiet and self.verbose:
            raise UsageError("choose one of --quiet and --verbose")

    @property
    def is_local(self) -> bool:
        """Return whether only this machine can reach the service."""
        return self.host in LOOPBACK
