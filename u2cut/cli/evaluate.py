"""``u2cut eval``: how good a network's maps are, or another tool's."""

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from u2cut import console
from u2cut.cli.options import examples, takes
from u2cut.describe import Options, option
from u2cut.errors import MissingDependencyError, OutputError, UsageError
from u2cut.evaluation.options import EvalOptions
from u2cut.options import NetworkOptions

if TYPE_CHECKING:
    from u2cut.evaluation.report import Report

CURVES, SHEET = "curves.png", "worst.png"


@dataclass(frozen=True, slots=True)
class ReportOptions(Options):
    """The form of the report."""

    plots: Path | None = field(
        default=None,
        metadata=option("Draw precision, recall and Fβ into DIR/curves.png.", metavar="DIR"),
    )
    worst: int = field(
        default=0,
        metadata=option(
            "Draw the N photos with the greatest MAE into worst.png in the folder of --plots.",
            metavar="N",
            min=0,
            max=100,
        ),
    )
    overwrite: bool = field(default=False, metadata=option("Replace pictures that exist."))
    markdown: bool = field(default=False, metadata=option("Write the table in Markdown."))
    json: bool = field(default=False, metadata=option("Write JSON instead of the table."))
    quiet: bool = field(default=False, metadata=option("Say nothing but errors.", "--quiet", "-q"))
    verbose: bool = field(
        default=False, metadata=option("Say what is used and why.", "--verbose", "-v")
    )

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if self.json and self.markdown:
            raise UsageError("choose one of --json and --markdown")
        if self.worst and self.plots is None:
            raise UsageError("--worst needs --plots DIR, where it puts worst.png")
        if self.quiet and self.verbose:
            raise UsageError("choose one of --quiet and --verbose")


EXAMPLES = examples(
    "u2cut eval --data DUTS-TE/ --model u2net",
    "u2cut eval --data ECSSD/ --pred other-tool/ --markdown",
    "u2cut eval --data val/ --weights run/model.safetensors --plots plots/ --worst 12",
)


@takes(EvalOptions, ReportOptions, NetworkOptions)
def evaluate(options: EvalOptions, report: ReportOptions, network: NetworkOptions) -> None:
    """Score a network on photos with known masks.

    Prints the saliency metrics of the U²-Net paper (maximal Fβ, MAE, weighted Fβ, S-measure,
    relaxed boundary Fβ) and more, beside the paper's own figures where the data set is one of
    its six; for soft masks also SAD, MSE, Gradient and Connectivity.
    """
    console.configure_logging(quiet=report.quiet, verbose=report.verbose)
    _check_plots(report)
    with console.protect_stdout() as stdout:
        from u2cut.evaluation import report as tables
        from u2cut.evaluation.run import at_hand, judge

        with at_hand(options, quiet=report.quiet) as here:
            found = judge(here, network, worst=report.worst, quiet=report.quiet)
            write = tables.as_text
            if report.json or report.markdown:
                write = tables.as_json if report.json else tables.as_markdown
            stdout.write(write(found).encode())
            _draw(found, report)


def _check_plots(options: ReportOptions) -> None:
    """Refuse, before any work, pictures that can't be drawn."""
    if options.plots is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingDependencyError("--plots", "train")
        for path in (options.plots / CURVES, options.plots / SHEET):
            if os.path.lexists(path) and not options.overwrite:
                raise OutputError("exists already", path=path, remedy="--overwrite replaces it")


def _draw(report: "Report", options: ReportOptions) -> None:
    """Write the pictures that were asked for."""
    if options.plots is None:
        return
    from u2cut.evaluation import pictures
    from u2cut.files.sink import Sink

    sink = Sink(overwrite=options.overwrite)
    sink.write(str(options.plots / CURVES), pictures.plot_curves(report.sets))
    if report.worst:
        sink.write(str(options.plots / SHEET), pictures.draw_sheet(report.worst))
