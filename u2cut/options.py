"""The user's options: a frozen dataclass a concern, with every default and help text.

The command line makes its options from these fields (see ``u2cut.cli.options``), so that a
default, a limit or a help text stands in one place. Nothing heavy is imported here.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Final

from u2cut.describe import Options, chosen, flag, option
from u2cut.errors import UsageError, printable
from u2cut.imaging.formats import Format, parse_format
from u2cut.notation import (
    Canvas,
    Margin,
    Position,
    parse_canvas,
    parse_color,
    parse_margin,
    parse_position,
    parse_share,
)

MODEL: Final = "U2CUT_MODEL"
_DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:(\d+|all))?")


def model_from_environment() -> str:
    """Return ``U2CUT_MODEL``, or "auto"."""
    return os.environ.get(MODEL, "").strip() or "auto"


def check_device(name: str) -> None:
    """Refuse what names no device.

    Raises:
        UsageError: It is none of auto, cpu, cuda, cuda:N, cuda:all and mps.
    """
    if not _DEVICE.fullmatch(name):
        raise UsageError(
            f"unknown device {printable(name)!r}: use auto, cpu, cuda, cuda:N, cuda:all or mps"
        )


class Product(StrEnum):
    """The kind of result."""

    CUTOUT = "cutout"
    MASK = "mask"
    ALPHA = "alpha"
    SALIENCY = "saliency"
    TRIMAP = "trimap"


class EngineName(StrEnum):
    """The engine that runs the network."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """The precision that the network computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"
    INT8 = "int8"


class Matting(StrEnum):
    """The way in which the edge is refined."""

    NONE = "none"
    FAST = "fast"
    BEST = "best"


@dataclass(frozen=True, slots=True)
class InputOptions(Options):
    """The photos."""

    PANELS: ClassVar[Mapping[str, str]] = {"recursive": "Input"}

    recursive: bool = field(
        default=False,
        metadata=option("Go into folders inside; keep the tree under OUT.", "--recursive", "-r"),
    )
    from_file: str | None = field(
        default=None,
        metadata=option(
            "Read inputs from a file, one a line; '-' reads them from stdin.", metavar="LIST"
        ),
    )
    null: bool = field(
        default=False, metadata=option("The entries of --from-file end with NUL.", "--null", "-0")
    )
    max_pixels: int = field(
        default=300_000_000, metadata=option("Refuse photos with more pixels than this.", min=1)
    )

    no_sign: bool = field(
        default=False,
        metadata=option("Read remote photos without credentials, as public buckets allow."),
    )

    def check(self) -> None:
        """Refuse --null without a list."""
        if self.null and self.from_file is None:
            raise UsageError("--null is about the list of --from-file: name one, or leave it out")


@dataclass(frozen=True, slots=True)
class OutputOptions(Options):
    """The place and the format of the results."""

    PANELS: ClassVar[Mapping[str, str]] = {"output": "Output"}

    output: str | None = field(
        default=None,
        metadata=option(
            "A folder, a file (for one input), or '-' for stdout. Without it, stdin goes to "
            "stdout and files go beside their inputs.",
            "--output",
            "-o",
            metavar="OUT",
        ),
    )
    format: Format | None = field(
        default=None,
        metadata=option(
            f"Format of the results: {', '.join(Format)}; else the ending of OUT says, or it is "
            "png.",
            metavar="FORMAT",
            parser=parse_format,
        ),
    )
    quality: int | None = field(
        default=None,
        metadata=option(
            "Of webp (100: lossless), avif and jpg.",
            min=1,
            max=100,
            metavar="1..100",
            shown="90, 80 and 92",
        ),
    )
    compression: int | None = field(
        default=None,
        metadata=option(
            "Effort spent on small files: 0 fast, 9 small.",
            min=0,
            max=9,
            metavar="0..9",
            shown="4; avif 2",
        ),
    )
    strip: bool = field(
        default=False,
        metadata=option(
            "Write no author, copyright, date, description or camera, which results otherwise keep."
        ),
    )
    keep_gps: bool = field(
        default=False,
        metadata=option("Also keep where the photo was taken, which is left out otherwise."),
    )
    overwrite: bool = field(default=False, metadata=option("Replace outputs that exist."))
    skip_existing: bool = field(
        default=False, metadata=option("Leave inputs alone whose output exists.")
    )
    keep_ending: bool = field(
        default=False, metadata=option("Name the output of a.jpg a.jpg.png instead of a.png.")
    )

    def check(self) -> None:
        """Refuse two answers to one question."""
        if self.overwrite and self.skip_existing:
            raise UsageError("choose one of --overwrite and --skip-existing")
        if self.strip and self.keep_gps:
            raise UsageError("choose one of --strip and --keep-gps")


@dataclass(frozen=True, slots=True)
class EdgeOptions(Options):
    """The way from a saliency map to an alpha matte."""

    PANELS: ClassVar[Mapping[str, str]] = {"matting": "Edges"}

    matting: Matting = field(
        default=Matting.FAST,
        metadata=option(
            "How the edge is refined to the photo's pixels; best also sees the photo "
            "mirrored and at smaller input sizes, and takes the map that is least uncertain and "
            "most like that of a second network; fast looks a second time, at a smaller size, "
            "where the first map is unsure. Both have a small network correct the map. (These "
            "networks are in the package, for --model, not for --weights.)"
        ),
    )
    zoom: bool | None = field(
        default=None,
        metadata=option(
            "Predict small subjects a second time, enlarged.",
            "--zoom/--no-zoom",
            shown="with --matting best",
        ),
    )
    threshold: float | None = field(
        default=None,
        metadata=option("Make the edge hard: opaque from this alpha on.", min=0.01, max=1.0),
    )
    clean: bool = field(default=False, metadata=option("Remove specks and fill holes."))
    largest: bool = field(default=False, metadata=option("Keep the main subject only."))
    feather: float = field(
        default=0.0,
        metadata=option("Soften the edge by this many pixels of the output.", min=0, max=1000),
    )
    erode: int = field(
        default=0, metadata=option("Move the edge inwards by this many pixels.", min=0, max=1000)
    )

    @property
    def refines_by_zoom(self) -> bool:
        """Return whether small subjects get a second prediction."""
        return self.matting is Matting.BEST if self.zoom is None else self.zoom


# Options of the network that decide how fast a result comes, not how it looks.
_WITHOUT_EFFECT: Final = ("offline", "engine", "device", "precision", "batch_size")


@dataclass(frozen=True, slots=True)
class Picture:
    """A background picture, scaled to cover."""

    path: Path


@dataclass(frozen=True, slots=True)
class Blur:
    """The photo itself as background, blurred by ``sigma`` pixels."""

    sigma: float


# What stands behind the subject: an sRGB colour, a picture, or the photo blurred.
Background = tuple[int, int, int] | Picture | Blur


@dataclass(frozen=True, slots=True)
class CutoutOptions(Options):
    """The look of a cutout beside its edge."""

    PANELS: ClassVar[Mapping[str, str]] = {"background": "Output"}

    background: tuple[int, int, int] | None = field(
        default=None,
        metadata=option(
            "Put the subject on a colour: white, #rrggbb or r,g,b.",
            metavar="COLOR",
            parser=parse_color,
        ),
    )
    background_image: Path | None = field(
        default=None,
        metadata=option("Put the subject on this picture, scaled to cover.", metavar="FILE"),
    )
    background_blur: float | None = field(
        default=None,
        metadata=option(
            "Put the subject on the photo itself, blurred by SIGMA pixels.",
            metavar="SIGMA",
            min=0.1,
        ),
    )
    crop: bool = field(default=False, metadata=option("Crop the result to the subject."))
    crop_margin: Margin | None = field(
        default=None,
        metadata=option(
            "What --crop leaves around the subject: pixels (20), or percent of its longer side "
            "(5%).",
            metavar="MARGIN",
            parser=parse_margin,
            shown="0",
        ),
    )
    decontaminate: bool = field(
        default=True,
        metadata=option(
            "Take the old background's colour out of the edge.",
            "--decontaminate/--no-decontaminate",
        ),
    )
    keep_hidden_colours: bool = field(
        default=False, metadata=option("Keep the photo's colours where the alpha is 0.")
    )
    srgb: bool = field(
        default=False,
        metadata=option(
            "Convert the colours to sRGB, instead of keeping the photo's own profile: for "
            "shops and browsers that ignore profiles."
        ),
    )

    def check(self) -> None:
        """Refuse several backgrounds."""
        given = (self.background, self.background_image, self.background_blur)
        if sum(choice is not None for choice in given) > 1:
            raise UsageError("choose one of --background, --background-image and --background-blur")

    @property
    def behind(self) -> Background | None:
        """The background; None leaves it transparent."""
        if self.background_image is not None:
            return Picture(self.background_image)
        if self.background_blur is not None:
            return Blur(self.background_blur)
        return self.background


@dataclass(frozen=True, slots=True)
class CanvasOptions(Options):
    """A canvas of its own for every subject."""

    PANELS: ClassVar[Mapping[str, str]] = {"canvas": "Canvas"}

    canvas: Canvas | None = field(
        default=None,
        metadata=option(
            "Place the subject on a canvas: pixels (2000x2000), a ratio (4:5), square, or photo "
            "(the photo's own size).",
            metavar="SIZE",
            parser=parse_canvas,
        ),
    )
    fill: float | None = field(
        default=None,
        metadata=option(
            "Share of the canvas that the subject fills, in width or height.",
            metavar="PERCENT",
            min=0,
            max=1,
            parser=parse_share,
            shown="85%",
        ),
    )
    position: Position | None = field(
        default=None,
        metadata=option(
            "Where the subject stands: center, bottom (with the margin of the other sides), or "
            "X%,Y% of the free space.",
            metavar="PLACE",
            parser=parse_position,
            shown="center",
        ),
    )
    enlarge: bool = field(
        default=False, metadata=option("Let the subject grow beyond its own pixels.")
    )

    def check(self) -> None:
        """Refuse what is about a canvas that there is not."""
        if self.canvas is None and (self.fill or self.position or self.enlarge):
            raise UsageError("--fill, --position and --enlarge go with --canvas: name its size")
        if self.fill is not None and not 0 < self.fill <= 1:
            raise UsageError(f"--fill {self.fill}: give a share above 0, up to 1")


@dataclass(frozen=True, slots=True)
class MaskOptions(Options):
    """The kind of mask."""

    PANELS: ClassVar[Mapping[str, str]] = {"alpha": "Output"}

    alpha: bool = field(
        default=False, metadata=option("Write the alpha matte instead of a hard mask.")
    )
    saliency: bool = field(
        default=False,
        metadata=option("Write the network's map as it is, stretched to full contrast."),
    )
    trimap: bool = field(
        default=False, metadata=option("Write background 0, unknown 128, subject 255.")
    )
    invert: bool = field(default=False, metadata=option("Exchange subject and background."))

    def check(self) -> None:
        """Refuse several kinds."""
        if self.alpha + self.saliency + self.trimap > 1:
            raise UsageError("choose one of --alpha, --saliency and --trimap")

    @property
    def product(self) -> Product:
        """The kind of result."""
        if self.alpha:
            return Product.ALPHA
        if self.saliency:
            return Product.SALIENCY
        return Product.TRIMAP if self.trimap else Product.MASK


@dataclass(frozen=True, slots=True)
class WeightsOptions(Options):
    """The network's weights."""

    PANELS: ClassVar[Mapping[str, str]] = {"model": "Network"}

    model: str = field(
        default_factory=model_from_environment,
        metadata=option(
            "Weights by name (see 'u2cut weights list'), or auto: u2net if it is here or can be "
            "fetched, else the bundled lite. U2CUT_MODEL changes the default.",
            metavar="NAME",
            shown="auto",
        ),
    )
    weights: Path | None = field(
        default=None, metadata=option("Use this weights file instead of --model.", metavar="FILE")
    )
    offline: bool = field(
        default=False, metadata=option("Download nothing. U2CUT_OFFLINE=1 says the same.")
    )

    def check(self) -> None:
        """Refuse a name beside a file."""
        if self.weights is not None and self.model != model_from_environment():
            raise UsageError("choose one of --model and --weights")


@dataclass(frozen=True, slots=True)
class NetworkOptions(WeightsOptions):
    """The network, and the machine that it runs on."""

    engine: EngineName = field(
        default=EngineName.AUTO,
        metadata=option(
            "What runs the network: openvino is the fastest on a CPU, and an extra.",
        ),
    )
    device: str = field(
        default="auto",
        metadata=option(
            "Where it runs: auto, cpu, cuda, cuda:N, cuda:all or mps.", metavar="DEVICE"
        ),
    )
    precision: Precision = field(
        default=Precision.AUTO,
        metadata=option(
            "What it computes in: auto is bf16 where the processor or GPU has it, else fp32 (fp16 "
            "on CUDA); int8 with openvino only."
        ),
    )
    batch_size: int | None = field(
        default=None,
        metadata=option("Photos in a forward pass.", min=1, shown="what suits the device"),
    )
    size: int | None = field(
        default=None,
        metadata=option(
            "Side of the network's input in pixels.", min=32, max=4096, shown="what suits the model"
        ),
    )

    def check(self) -> None:
        """Refuse what names no device, too."""
        WeightsOptions.check(self)
        check_device(self.device)


@dataclass(frozen=True, slots=True)
class RunOptions(Options):
    """The behaviour of a run."""

    PANELS: ClassVar[Mapping[str, str]] = {"jobs": "Run"}

    jobs: int | None = field(
        default=None,
        metadata=option(
            "Threads that decode and encode.",
            "--jobs",
            "-j",
            min=1,
            max=256,
            shown="one a core, up to 8",
        ),
    )
    timeout: float = field(
        default=600.0,
        metadata=option(
            "Give up on a photo when reading it, or finishing it, takes longer than this.",
            metavar="SECONDS",
            min=0.1,
            shown="600",
        ),
    )
    journal: Path | None = field(
        default=None,
        metadata=option(
            "Append a line of JSON for each input to FILE, as soon as it is done.", metavar="FILE"
        ),
    )
    resume_from: Path | None = field(
        default=None,
        metadata=option(
            "Leave alone what this journal says is done, and what exists; go on writing to it. "
            "One that isn't there yet is begun.",
            metavar="FILE",
        ),
    )
    json: bool = field(
        default=False, metadata=option("Write a line of JSON for each input to stdout, in order.")
    )
    dry_run: bool = field(
        default=False,
        metadata=option("Write what would be done, input by input, and do nothing."),
    )
    quiet: bool = field(default=False, metadata=option("Say nothing but errors.", "--quiet", "-q"))
    verbose: bool = field(
        default=False,
        metadata=option("Say what is used and why, and where the time goes.", "--verbose", "-v"),
    )

    def check(self) -> None:
        """Refuse to be quiet and to speak."""
        if self.quiet and self.verbose:
            raise UsageError("choose one of --quiet and --verbose")


@dataclass(frozen=True, slots=True)
class RenderOptions(Options):
    """The kind of result, and its look."""

    product: Product = Product.CUTOUT
    invert: bool = False
    edge: EdgeOptions = EdgeOptions()
    cutout: CutoutOptions = CutoutOptions()
    canvas: CanvasOptions = CanvasOptions()

    def check(self) -> None:
        """Refuse options of the edge where the product has none, and two sizes."""
        if self.canvas.canvas is not None and self.cutout.crop:
            raise UsageError("choose one of --crop and --canvas")
        if self.canvas.canvas is not None and self.product in (Product.SALIENCY, Product.TRIMAP):
            raise UsageError(f"--canvas is about the subject; leave it out with --{self.product}")
        if self.product not in (Product.SALIENCY, Product.TRIMAP):
            return
        # The trimap is that of the map that the matte would be made of.
        allowed = {"matting", "zoom"} if self.product is Product.TRIMAP else set()
        edge = self.edge
        if edge.matting is Matting.NONE:
            edge = replace(edge, matting=EdgeOptions().matting)
        for declared in fields(EdgeOptions):
            if declared.name not in allowed and getattr(edge, declared.name) != declared.default:
                raise UsageError(
                    f"{flag(declared)} is about the alpha matte; leave it out with --{self.product}"
                )


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """All that ``u2cut remove`` or ``u2cut mask`` was told."""

    inputs: tuple[str, ...]
    input: InputOptions
    output: OutputOptions
    render: RenderOptions
    network: NetworkOptions
    run: RunOptions

    def of_results(self) -> dict[str, str]:
        """Return the options that decide how a result looks, those that aren't the default."""
        render = self.render
        found = chosen(render.edge, render.cutout, render.canvas)
        found |= chosen(self.output, leave_out=("output", "overwrite", "skip_existing"))
        found |= chosen(self.network, leave_out=_WITHOUT_EFFECT)
        if render.product is not Product.CUTOUT:
            found["result"] = render.product.value
        if render.invert:
            found["--invert"] = "True"
        return found
