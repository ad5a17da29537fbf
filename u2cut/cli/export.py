"""``u2cut export``: a network in other forms."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from u2cut import console
from u2cut.cli.options import examples, takes
from u2cut.describe import Options, option
from u2cut.errors import OutputError, UsageError, printable
from u2cut.export.formats import ENDINGS, ExportFormat
from u2cut.options import WeightsOptions


@dataclass(frozen=True, slots=True)
class ExportOptions(Options):
    """The file that is written."""

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


EXAMPLES = examples(
    "u2cut export -o u2net.onnx",
    "u2cut export --weights run/model.safetensors -o net.xml",
)


@takes(ExportOptions, WeightsOptions)
def export(options: ExportOptions, network: WeightsOptions) -> None:
    """Write the network for other programs.

    ONNX and OpenVINO map "photo", (B, 3, H, W) normalised RGB, to "map", (B, 1, H, W) in 0..1,
    for any B, H and W. What is written is run beside torch first, and kept only if it agrees.
    The path is printed on stdout.
    """
    console.configure_logging(quiet=options.quiet, verbose=not options.quiet)
    if options.output is None:
        raise UsageError("no output: say -o FILE.onnx, FILE.xml or FILE.safetensors")
    target = options.output
    if str(target) == "-":
        raise UsageError("a network isn't written to stdout: name a file with -o")
    format = options.format or ENDINGS.get(target.suffix.lower())
    if format is None:
        raise UsageError("say --format onnx, openvino or safetensors", path=target)
    if ENDINGS.get(target.suffix.lower(), format) is not format:
        raise UsageError(
            f"the ending names another form than --format {format}: leave one out", path=target
        )
    if format is ExportFormat.OPENVINO and target.suffix != ".xml":
        raise UsageError("an OpenVINO model's name ends in .xml", path=target)
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
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputError.from_os(e, target.parent) from e
        difference = export(found.path, target, format)
        console.logger.info("%s as %s; differs from torch by %.1g", found.name, format, difference)
        stdout.write(os.fsencode(target) + b"\n")
