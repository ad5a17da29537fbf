"""The places that have a network's weights, in the order in which they are asked."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from u2cut.errors import UsageError, printable
from u2cut.weights.registry import Form, WeightSpec, Wheel

MIRROR, HUB, INDEX = "mirror", "hub", "index"
KINDS = (HUB, MIRROR, INDEX)


@dataclass(frozen=True, slots=True)
class Source:
    """One place that has one form of a network.

    Attributes:
        kind: "mirror", "hub" or "index".
        form: What it has there.
        url: Where, for a mirror or a hub.
        wheel: Where, for the package index.
    """

    kind: str
    form: Form
    url: str | None = None
    wheel: Wheel | None = None

    @property
    def place(self) -> str:
        """Name the place in full."""
        return self.url or f"package index: {self.wheel.requirement if self.wheel else ''}"

    @property
    def label(self) -> str:
        """Name the place in short."""
        return (urlsplit(self.url).hostname or self.url) if self.url else self.place


def sources(spec: WeightSpec, kind: str | None = None) -> list[Source]:
    """Return where a network's weights are asked for: a mirror, the hubs, the package index.

    Args:
        spec: The network.
        kind: Only this kind of place.

    Raises:
        UsageError: The mirror's address is invalid, or one is asked for and U2CUT_MIRROR is unset.
    """
    found = [*_mirrored(spec, required=kind == MIRROR)]
    found += [Source(HUB, form, url=url) for form in spec.forms for url in form.urls]
    found += [Source(INDEX, form, wheel=form.wheel) for form in spec.forms if form.wheel]
    return [source for source in found if kind in (None, source.kind)]


def _mirrored(spec: WeightSpec, *, required: bool) -> list[Source]:
    address = os.environ.get("U2CUT_MIRROR", "").strip().rstrip("/")
    if not address:
        if required:
            raise UsageError("--from mirror: no mirror is known; set U2CUT_MIRROR to its address")
        return []
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"U2CUT_MIRROR: '{printable(address)}' is not an http or https address")
    return [Source(MIRROR, form, url=f"{address}/{form.filename}") for form in spec.forms]
