"""``u2cut export`` and ``u2cut calibrate``: a network in other forms."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path

import click

from u2cut import console
from u2cut.cli.options import takes
from u2cut.console import printable
from u2cut.describe import Options, option
from u2cut.errors import OutputError, UsageError
from u2cut.export.formats import ENDINGS, ExportFormat
from u2cut.options import WeightsOptions


@dataclass(frozen=True, slots=True)
class ExportOptions(Options):
    """What is written, and where."""

    output: Path | None = field(
        default=None,
        metadata=option(
            "The file to write. OpenVINO puts a .bin beside its .xml.",
            "--output",
            "-o",
            metavar="FILE",
        ),
    )
    format: ExportFormat | None = field(
        default=None, metadata=option("What to write.", shown="by the file's ending")
    )
    overwrite: bool = field(default=False, metadata=option("Replace a file that exists."))
    quiet: bool = field(default=False, metadata=option("Say nothing but errors.", "--quiet", "-q"))


@click.command
@takes(ExportOptions, WeightsOptions)
def export(options: ExportOptions, network: WeightsOptions) -> None:
    """Write the network for other programs: ONNX, OpenVINO or safetensors.

    ONNX and OpenVINO map "photo", (B, 3, H, W) normalised RGB, to "map", (B, 1, H, W) in 0..1,
    for any B, H and W. What is written is run beside torch first, and kept only if it agrees.
    The path is printed on stdout.
    """
    console.configure_logging(quiet=options.quiet, verbose=not options.quiet)
    if options.output is None:
        raise UsageError("no output: say -o FILE.onnx, FILE.xml or FILE.safetensors")
    target = options.output
    format = options.format or ENDINGS.get(target.suffix.lower())
    if format is None:
        raise UsageError(f"{printable(target)}: say --format onnx, openvino or safetensors")
    if format is ExportFormat.OPENVINO and target.suffix != ".xml":
        raise UsageError(f"{printable(target)}: an OpenVINO model's name ends in .xml")
    parts = [target, target.with_suffix(".bin")] if target.suffix == ".xml" else [target]
    for part in parts:
        if not os.path.lexists(part):
            continue
        if not part.is_file():
            raise OutputError(f"{printable(part)} exists and is no file, so it isn't replaced")
        if not options.overwrite:
            raise OutputError(f"{printable(part)} exists: say --overwrite to replace it")
    with console.protect_stdout() as stdout:
        from u2cut.engines.predictor import find_weights
        from u2cut.export.export import export

        found = find_weights(network, quiet=options.quiet)
        difference = export(found.path, target, format)
        console.logger.info("%s as %s; differs from torch by %.1g", found.name, format, difference)
        stdout.write(os.fsencode(target) + b"\n")


@dataclass(frozen=True, slots=True)
class CalibrateOptions(Options):
    """What the int8 network is made for."""

    size: int | None = field(
        default=None,
        metadata=option(
            "Side of the network's input in pixels.", min=32, max=4096, shown="what suits the model"
        ),
    )
    quiet: bool = field(default=False, metadata=option("Say nothing but errors.", "--quiet", "-q"))


# Mean absolute difference of the maps: more than that shows in the cutouts.
_TOLERABLE = 0.003


@click.command
@click.argument("photos", metavar="[PHOTOS]...", nargs=-1, type=click.Path(path_type=Path))
@takes(CalibrateOptions, WeightsOptions)
def calibrate(
    options: CalibrateOptions, network: WeightsOptions, *, photos: tuple[Path, ...]
) -> None:
    """Make the network's int8 form, for --precision int8.

    It is fitted to PHOTOS (or folders of them) of the kind that it will see: a few dozen do, at
    most 64 are used. That takes some minutes, once for each network and size; the result is kept
    in the cache.
    """
    console.configure_logging(quiet=options.quiet, verbose=not options.quiet)
    if not photos:
        raise UsageError("no photos to calibrate on: name some, or a folder of them")
    with console.protect_stdout():
        from u2cut.batch.calibrate import calibrate
        from u2cut.engines.predictor import find_weights

        found = find_weights(network, quiet=options.quiet)
        count, difference = calibrate(found.path, photos, options.size or found.input_size)
        console.logger.info(
            "%s calibrated on %d photos: use it with --precision int8", found.name, count
        )
        level = logging.WARNING if difference > _TOLERABLE else logging.INFO
        console.logger.log(level, "its maps differ from fp32 by %.4f on average", difference)
