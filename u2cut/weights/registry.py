"""The weights that u2cut knows by name: where they are, and what they must be."""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from u2cut.errors import WeightsError, system_reason
from u2cut.stdio import printable
from u2cut.weights.metadata import input_size, read_metadata

DEFAULT_INPUT_SIZE = 320
# The larger network takes 176 MB in fp32 and twice that in fp64; no weights are longer.
MAX_BYTES = 400_000_000
BUNDLED = "lite"
OFFICIAL_SOURCE = "https://github.com/xuebinqin/U-2-Net"
_MIRROR = "https://github.com/OPHoperHPO/image-background-remove-tool/releases/download/3.2"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """What is known of one set of weights before it is here.

    Attributes:
        name: The name to ask for.
        description: What it is good at, in one line.
        urls: Where it can be fetched, the best first; empty for the bundled one.
        size: Length in bytes; None where nobody recorded it, and for the bundled one.
        sha256: The hash of the whole file; it decides what is accepted, wherever it came from.
        licence: SPDX identifier.
        input_size: Side of the square that the network sees, in pixels.
        source: Who made it.
    """

    name: str
    description: str
    urls: tuple[str, ...]
    size: int | None
    sha256: str
    licence: str
    input_size: int
    source: str


# Mirrors make no promise of their own; Google Drive, the authors' place, comes last because it
# answers popular files with a quota page.
OFFICIAL = {
    spec.name: spec
    for spec in (
        WeightSpec(
            name="u2net",
            description="U²-Net, the paper's large network: the best cutouts",
            urls=(
                "https://huggingface.co/Carve/u2net-universal/resolve/"
                "10305d785481cf4b2eee1d447c39cd6e5f43d74b/full_weights.pth",
                f"{_MIRROR}/u2net.pth",
                f"{_DRIVE}1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ",
            ),
            size=176_290_937,
            sha256="10025a17f49cd3208afc342b589890e402ee63123d6f2d289a4a0903695cce58",
            licence="Apache-2.0",
            input_size=DEFAULT_INPUT_SIZE,
            source=OFFICIAL_SOURCE,
        ),
        WeightSpec(
            name="u2netp",
            description="U²-Net†, the paper's small network: fast, less detail",
            urls=(
                "https://huggingface.co/netradrishti/u2net-saliency/resolve/"
                "c723f1a701ee5d3240a28bb5a1d57b9e713698c5/models/u2netp.pth",
                "https://github.com/nadermx/backgroundremover/raw/main/models/u2netp.pth",
                f"{_MIRROR}/u2netp.pth",
                f"{_DRIVE}1rbSTGKAE-MTxBYHd-51l2hMOQPT_7EPy",
            ),
            size=4_683_258,
            sha256="e7567cde013fb64813973ce6e1ecc25a80c05c3ca7adbc5a54f3c3d90991b854",
            licence="Apache-2.0",
            input_size=DEFAULT_INPUT_SIZE,
            source=OFFICIAL_SOURCE,
        ),
        WeightSpec(
            name="u2net_human_seg",
            description="U²-Net trained on people only",
            urls=(f"{_DRIVE}1m_Kgs91b21gayc2XLW0ou8yugAIadWVP",),
            size=None,
            sha256="13f0396e3f6fbc1d7ab55a8558640bef306a59b9110a5c595eb949ff69cf2414",
            licence="Apache-2.0",
            input_size=DEFAULT_INPUT_SIZE,
            source=OFFICIAL_SOURCE,
        ),
    )
}


def names() -> tuple[str, ...]:
    """Return every known name, the bundled one last."""
    return (*OFFICIAL, BUNDLED)


def spec(name: str) -> WeightSpec:
    """Look a name up.

    Raises:
        WeightsError: Nobody knows the name.
    """
    if name in OFFICIAL:
        return OFFICIAL[name]
    if name == BUNDLED:
        return _bundled_spec()
    raise WeightsError(
        f"no weights are called '{printable(name)}'; known: {', '.join(names())}. "
        "For a file of your own use --weights FILE (train: --init FILE.safetensors)"
    )


def bundled_path() -> Path:
    """Return the file of the bundled weights, in an installed package or in a checkout."""
    package = Path(__file__).parent
    folders = (package / "bundled", package.parents[1] / "weights")
    for folder in folders:
        path = folder / f"{BUNDLED}.safetensors"
        if path.is_file():
            return path
    raise WeightsError(
        f"the weights that ship with u2cut are missing ({printable(os.fspath(folders[0]))}); "
        "install u2cut again"
    )


@cache
def _bundled_spec() -> WeightSpec:
    path = bundled_path()
    recorded = path.with_name(f"{path.name}.sha256")
    try:
        digest = recorded.read_text(encoding="ascii").split()[0]
        size = path.stat().st_size
    except FileNotFoundError as e:
        raise WeightsError(f"{printable(recorded)}: missing; install u2cut again") from e
    except OSError as e:
        raise WeightsError(f"{printable(recorded)}: {system_reason(e)}") from e
    except (ValueError, IndexError) as e:
        raise WeightsError(f"{printable(recorded)}: damaged; install u2cut again") from e
    return WeightSpec(
        name=BUNDLED,
        description="ships with u2cut: small, works offline, less exact",
        urls=(),
        size=size,
        sha256=digest,
        licence="Apache-2.0",
        input_size=input_size(read_metadata(path), path) or DEFAULT_INPUT_SIZE,
        source="u2cut's own training",
    )
