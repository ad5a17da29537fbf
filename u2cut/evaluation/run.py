"""An evaluation from its options to its report."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from u2cut import weights
from u2cut.cores import available_cores
from u2cut.cutout import Cutout
from u2cut.datasets import pairs as data
from u2cut.datasets.fetch import fetching
from u2cut.engines.predictor import Predictor
from u2cut.errors import UsageError, printable
from u2cut.evaluation.judge import Fault, Judged, find_maps, judge_folder, judge_network
from u2cut.evaluation.options import EvalOptions
from u2cut.evaluation.report import Report, gather
from u2cut.imaging.decode import Frame
from u2cut.options import EdgeOptions, Matting, NetworkOptions, RenderOptions


@contextmanager
def at_hand(options: EvalOptions, *, quiet: bool) -> Iterator[EvalOptions]:
    """Yield the options with copies of those folders that are far away; they go afterwards.

    Raises:
        DataError: A folder can't be fetched.
    """
    with fetching(quiet=quiet) as fetcher:
        yield replace(
            options,
            data=[fetcher.at_hand(folder) for folder in options.data],
            images=options.images and fetcher.at_hand(options.images),
            masks=options.masks and fetcher.at_hand(options.masks),
            pred=options.pred and fetcher.at_hand(options.pred),
        )


def judge(options: EvalOptions, network: NetworkOptions, *, worst: int, quiet: bool) -> Report:
    """Judge a network's maps, its mattes, or another tool's maps.

    Args:
        options: What is judged, and by which masks.
        network: The network; as it is by default where ``options.pred`` names maps.
        worst: How many of the worst photos the report names.
        quiet: Show no progress.

    Raises:
        UsageError: Both a network and maps are named.
        DataError: A pair is invalid, or none is left.
        WeightsError: The weights are not available.
    """
    if options.pred is not None and network != NetworkOptions():
        raise UsageError("--pred takes maps as they are: leave out the network's options")
    if network.weights is not None:
        weights.local(network.weights)
    found, skipped = _find(options)
    source, outcomes = _outcomes(found, options, network, quiet=quiet)
    with closing(outcomes):
        return gather(
            source,
            found,
            outcomes,
            worst=worst,
            skipped=skipped,
            skip_bad=options.skip_bad,
            quiet=quiet,
        )


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
    found: Sequence[data.Pair], options: EvalOptions, network: NetworkOptions, *, quiet: bool
) -> tuple[str, Generator[Judged | Fault]]:
    """Return what makes the maps, and what becomes of each pair, lazily."""
    workers = options.jobs or min(available_cores(), 8)
    if options.pred is not None:
        maps = find_maps(found, options.pred)
        judged = judge_folder(found, maps, ignore=options.ignore, workers=workers)
        return printable(options.pred.resolve().name), judged

    method = options.matting or Matting.NONE
    predictor = Predictor(network, quiet=quiet, method=method)
    render = RenderOptions(edge=EdgeOptions(matting=method))

    def draw(frame: Frame, fused: NDArray[np.float32]) -> NDArray[np.float32]:
        cutout = Cutout(frame, fused, render, predictor)
        return cutout.alpha if options.matting else cutout.saliency

    label = " ".join([predictor.model, str(predictor.size), *filter(None, [options.matting])])
    return printable(label), judge_network(
        found, predictor, draw, ignore=options.ignore, workers=workers
    )
