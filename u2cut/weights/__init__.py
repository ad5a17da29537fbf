"""The weights that there are, and the way from a name or path to a verified local file."""

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
