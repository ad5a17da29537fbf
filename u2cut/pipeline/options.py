"""What the user asked for: one frozen dataclass a concern, and every default.

Nothing heavy is imported here: the command line builds these before any work starts.
"""

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

OFFLINE = "U2CUT_OFFLINE"
MODEL = "U2CUT_MODEL"


def offline_from_environment() -> bool:
    """Return whether ``U2CUT_OFFLINE`` is set to anything but 0, no or false."""
    return os.environ.get(OFFLINE, "").strip().lower() not in ("", "0", "no", "false")


def model_from_environment() -> str:
    """Return ``U2CUT_MODEL``, or "auto"."""
    return os.environ.get(MODEL, "").strip() or "auto"


class Product(StrEnum):
    """What is made of a photo."""

    CUTOUT = "cutout"
    MASK = "mask"
    ALPHA = "alpha"
    SALIENCY = "saliency"
    TRIMAP = "trimap"


class Matting(StrEnum):
    """How the edge is refined."""

    NONE = "none"
    FAST = "fast"
    BEST = "best"


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """Which network runs, and where.

    Attributes:
        model: Name of known weights, or "auto".
        weights: A local weights file instead of ``model``.
        offline: Never touch the network (the one with cables).
        engine: "auto", "torch" or "openvino".
        device: "auto", "cpu", "cuda", "cuda:N", "cuda:all" or "mps".
        precision: "auto", "fp32", "bf16", "fp16" or "int8".
        batch_size: Photos a forward pass; None lets the engine choose.
        size: Side of the network's input in pixels; None takes the one that the weights want.
    """

    model: str = field(default_factory=model_from_environment)
    weights: Path | None = None
    offline: bool = field(default_factory=offline_from_environment)
    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    size: int | None = None


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How the result looks.

    Attributes:
        product: What is made.
        threshold: Makes the alpha hard: opaque from this value on, in (0, 1].
        invert: Exchange subject and background of a mask.
        matting: How the edge is refined.
        zoom: Look again, closer, at subjects that fill little of the photo; None: with
            ``matting`` "best" only.
        decontaminate: Take the old background's colour out of the edge.
        keep_hidden_colours: Keep the photo's colours where the alpha is 0.
        background: RGB to composite over.
        background_image: Picture to composite over, cover-fit.
        background_blur: Composite over the photo itself, blurred with this σ in pixels.
        crop: Crop to the subject with this margin in pixels; None doesn't crop.
        clean: Remove specks, fill holes.
        largest: Keep the main subject only.
        feather: Soften the edge by this many pixels.
        erode: Move the edge inwards by this many pixels.
    """

    product: Product = Product.CUTOUT
    threshold: float | None = None
    invert: bool = False
    matting: Matting = Matting.FAST
    zoom: bool | None = None
    decontaminate: bool = True
    keep_hidden_colours: bool = False
    background: tuple[int, int, int] | None = None
    background_image: Path | None = None
    background_blur: float | None = None
    crop: int | None = None
    clean: bool = False
    largest: bool = False
    feather: float = 0.0
    erode: float = 0.0

    @property
    def has_background(self) -> bool:
        """Whether the result is opaque."""
        return (
            self.background is not None
            or self.background_image is not None
            or self.background_blur is not None
        )

    @property
    def looks_again(self) -> bool:
        """Whether small subjects get a second look."""
        return self.matting is Matting.BEST if self.zoom is None else self.zoom


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Where results go and how they are written.

    Attributes:
        target: A folder, a file, "-" for stdout, or None for beside the input.
        format: "png", "webp", "tiff", "avif" or "jpg"; None reads the target's ending.
        quality: Of lossy formats, 1 to 100; None takes the format's default.
        compression: Effort of lossless formats, 0 to 9; None takes the default.
        overwrite: Replace outputs that exist.
        skip_existing: Leave inputs alone whose output exists.
        keep_ending: Name ``a.jpg``'s output ``a.jpg.png``.
    """

    target: str | None = None
    format: str | None = None
    quality: int | None = None
    compression: int | None = None
    overwrite: bool = False
    skip_existing: bool = False
    keep_ending: bool = False


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Which photos.

    Attributes:
        inputs: Files, folders, patterns, or "-" for stdin.
        recursive: Go down into folders.
        from_file: A list of files, one a line; "-" reads it from stdin.
        null_separated: The list's entries end with NUL instead of a newline.
        max_pixels: Photos with more pixels are refused.
    """

    inputs: tuple[str, ...] = ()
    recursive: bool = False
    from_file: str | None = None
    null_separated: bool = False
    max_pixels: int = 300_000_000


@dataclass(frozen=True, slots=True)
class CutoutOptions:
    """All that ``u2cut remove`` and ``u2cut mask`` were told."""

    input: InputOptions = field(default_factory=InputOptions)
    output: OutputOptions = field(default_factory=OutputOptions)
    render: RenderOptions = field(default_factory=RenderOptions)
    network: NetworkOptions = field(default_factory=NetworkOptions)
    jobs: int | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
