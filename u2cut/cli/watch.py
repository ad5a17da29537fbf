"""``u2cut watch``: cut out what comes into a folder."""

from pathlib import Path
from typing import Annotated

import typer

from u2cut import console, weights
from u2cut.cli.options import examples, takes
from u2cut.options import (
    BatchOptions,
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    InputOptions,
    NetworkOptions,
    OutputOptions,
    RenderOptions,
    RunOptions,
)
from u2cut.watch.options import WatchOptions

EXAMPLES = examples(
    "u2cut watch incoming/ -o cut/",
    "u2cut watch incoming/ -r -o cut/ --move-done done/ --failed failed/ --background white",
    "u2cut watch incoming/ -o cut/ --once",
)


@takes(
    WatchOptions,
    InputOptions,
    OutputOptions,
    CutoutOptions,
    CanvasOptions,
    EdgeOptions,
    NetworkOptions,
    RunOptions,
    without=("from_file", "null", "skip_existing", "resume_from", "json", "dry_run"),
)
def watch(
    watching: WatchOptions,
    input_: InputOptions,
    output: OutputOptions,
    cutout: CutoutOptions,
    canvas: CanvasOptions,
    edge: EdgeOptions,
    network: NetworkOptions,
    run: RunOptions,
    *,
    folder: Annotated[Path, typer.Argument(metavar="IN", help="The folder.", show_default=False)],
) -> None:
    """Cut the subject out of photos that come into a folder.

    Takes a photo when it has stood still, does it once, and again when it is replaced. What is
    done stands in a journal (.u2cut-watch.jsonl in the results' folder, unless --journal names
    another), so that a restart repeats nothing. Looks by itself, so network shares will do.
    """
    console.configure_logging(quiet=run.quiet, verbose=run.verbose)
    if network.weights is not None:
        weights.local(network.weights)
    render = RenderOptions(edge=edge, cutout=cutout, canvas=canvas)
    options = BatchOptions((), input_, output, render, network, run)
    with console.protect_stdout():
        from u2cut.watch.watch import watch as run_watch

        code = run_watch(folder, options, watching)
    if code:
        raise SystemExit(int(code))
