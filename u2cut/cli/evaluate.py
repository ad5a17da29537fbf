"""``u2cut eval``: how good a network's maps are, or another tool's."""

import importlib.util
import os
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from u2cut import console, weights
from u2cut.cli.options import examples, takes
from u2cut.cores import available_cores
from u2cut.datasets import pairs as data
from u2cut.describe import Options, option
from u2cut.errors import MissingDependencyError, OutputError, UsageError, printable
from u2cut.options import EdgeOptions, Matting, NetworkOptions, RenderOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from u2cut.evaluation.evaluate import Fault, Judged
    from u2cut.evaluation.report import Report
    from u2cut.imaging.decode import Frame

CURVES, SHEET = "curves.png", "worst.png"


@dataclass(frozen=True, slots=True)
class EvalOptions(Options):
    """What is judged, by which truth, and what is said of it."""

    data: list[Path] = field(
        default_factory=list,
        metadata=option(
            "A data set, or a folder with data sets inside; may be repeated. A set has images/ "
            "and masks/ (or NAME-Image/ and NAME-Mask/) with files of the same stems.",
            metavar="DIR",
        ),
    )
    images: Path | None = field(
        default=None,
        metadata=option("Instead of --data: the folder of the photos.", metavar="DIR"),
    )
    masks: Path | None = field(
        default=None, metadata=option("The folder of the masks of --images.", metavar="DIR")
    )
    pred: Path | None = field(
        default=None,
        metadata=option(
            "Judge the maps (or cutouts) of another tool in this folder, DIR/stem.* or "
            "DIR/SET/stem.*, instead of a network.",
            metavar="DIR",
        ),
    )
    matting: Matting | None = field(
        default=None,
        metadata=option(
            "Judge the alpha matte that 'u2cut remove' makes in this way, instead of the "
            "network's map."
        ),
    )
    names: Path | None = field(
        default=None,
        metadata=option(
            "Judge only the photos that this list names, SET/stem on each line.", metavar="FILE"
        ),
    )
    ignore: int | None = field(
        default=None,
        metadata=option(
            "Leave out the pixels whose truth has this value.", metavar="0..255", min=0, max=255
        ),
    )
    skip_bad: bool = field(
        default=False, metadata=option("Leave out invalid files, and name them, and go on.")
    )
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
    jobs: int | None = field(
        default=None,
        metadata=option(
            "Threads that read and score.",
            "--jobs",
            "-j",
            min=1,
            max=256,
            shown="one a core, up to 8",
        ),
    )
    quiet: bool = field(default=False, metadata=option("Say nothing but errors.", "--quiet", "-q"))
    verbose: bool = field(
        default=False, metadata=option("Say what is used and why.", "--verbose", "-v")
    )

    def check(self) -> None:
        """Refuse what contradicts itself."""
        if bool(self.data) == bool(self.images or self.masks):
            raise UsageError("say what to judge with --data DIR, or with --images DIR --masks DIR")
        if (self.images is None) != (self.masks is None):
            raise UsageError("--images and --masks go together")
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


@takes(EvalOptions, NetworkOptions)
def evaluate(options: EvalOptions, network: NetworkOptions) -> None:
    """Score a network on photos with known masks.

    Prints the saliency metrics of the U²-Net paper (maximal Fβ, MAE, weighted Fβ, S-measure,
    relaxed boundary Fβ) and more, beside the paper's own figures where the data set is one of
    its six; for soft masks also SAD, MSE, Gradient and Connectivity.
    """
    console.configure_logging(quiet=options.quiet, verbose=options.verbose)
    _check(options, network)
    found, skipped = _find(options)
    with console.protect_stdout() as stdout:
        from u2cut.evaluation import report as tables

        source, outcomes = _outcomes(found, options, network)
        with closing(outcomes):
            report = tables.gather(
                source,
                found,
                outcomes,
                worst=options.worst,
                skipped=skipped,
                skip_bad=options.skip_bad,
                quiet=options.quiet,
            )
        write = tables.as_text
        if options.json or options.markdown:
            write = tables.as_json if options.json else tables.as_markdown
        stdout.write(write(report).encode())
        _draw(report, options)


def _check(options: EvalOptions, network: NetworkOptions) -> None:
    """Refuse, before any work, what can't be done."""
    if options.pred is not None and (options.matting or network != NetworkOptions()):
        raise UsageError("--pred takes maps as they are: leave out --matting and the network's")
    if network.weights is not None:
        weights.local(network.weights)
    if options.plots is not None:
        if importlib.util.find_spec("matplotlib") is None:
            raise MissingDependencyError("--plots", "train")
        for path in (options.plots / CURVES, options.plots / SHEET):
            if os.path.lexists(path) and not options.overwrite:
                raise OutputError("exists already", path=path, remedy="--overwrite replaces it")


def _find(options: EvalOptions) -> tuple[list[data.Pair], list[str]]:
    """Return the pairs to judge, and why others can't be."""
    if options.images is not None and options.masks is not None:
        scan = data.scan_folders(options.images, options.masks)
    else:
        scan = data.scan(options.data)
    if not options.skip_bad:
        data.refuse(scan.problems, data.SKIPPING)
    found = list(scan.pairs)
    if options.names is not None:
        found = data.restrict(found, data.read_names(options.names))
    return found, list(scan.problems)


def _outcomes(
    found: Sequence[data.Pair], options: EvalOptions, network: NetworkOptions
) -> "tuple[str, Generator[Judged | Fault]]":
    """Return what makes the maps, and what becomes of each pair, lazily."""
    from u2cut.evaluation.evaluate import find_maps, judge_folder, judge_network

    workers = options.jobs or min(available_cores(), 8)
    if options.pred is not None:
        maps = find_maps(found, options.pred)
        judged = judge_folder(found, maps, ignore=options.ignore, workers=workers)
        return printable(options.pred.resolve().name), judged

    from u2cut.cutout import Cutout
    from u2cut.engines.predictor import Predictor

    predictor = Predictor(network, quiet=options.quiet)
    render = RenderOptions(edge=EdgeOptions(matting=options.matting or Matting.NONE))

    def draw(frame: "Frame", fused: "NDArray[np.float32]") -> "NDArray[np.float32]":
        cutout = Cutout(frame, fused, render, predictor)
        return cutout.alpha if options.matting else cutout.saliency

    label = " ".join([predictor.model, str(predictor.size), *filter(None, [options.matting])])
    return printable(label), judge_network(
        found, predictor, draw, ignore=options.ignore, workers=workers
    )


def _draw(report: "Report", options: EvalOptions) -> None:
    """Write the pictures that were asked for."""
    if options.plots is None:
        return
    from u2cut.evaluation import pictures
    from u2cut.files.sink import Sink

    sink = Sink(overwrite=options.overwrite)
    sink.write(str(options.plots / CURVES), pictures.plot_curves(report.sets))
    if report.worst:
        sink.write(str(options.plots / SHEET), pictures.draw_sheet(report.worst))
