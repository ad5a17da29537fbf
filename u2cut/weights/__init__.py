"""Which weights there are, and how a name or path becomes a verified local file."""

from u2cut.weights.choose import (
    LocalWeights,
    as_file,
    bring_in,
    bring_in_folder,
    download_from,
    find,
    find_here,
    local,
)
from u2cut.weights.metadata import read_metadata

__all__ = [
    "LocalWeights",
    "as_file",
    "bring_in",
    "bring_in_folder",
    "download_from",
    "find",
    "find_here",
    "local",
    "read_metadata",
]
