"""``u2cut manifest``: a job of many shards, for as many machines as you have."""

import os
from dataclasses import replace
from typing import Annotated, Any

import typer

from u2cut import console
from u2cut.cli.batch import Inputs, check_formats
from u2cut.cli.options import examples, takes
from u2cut.errors import UsageError
from u2cut.options import (
    CanvasOptions,
    CutoutOptions,
    EdgeOptions,
    InputOptions,
    NetworkOptions,
    OutputOptions,
)

EXAMPLES = examples(
    "u2cut manifest s3://shop/photos/ -r -o s3://shop/job/ --to s3://shop/cut/ --model u2net",
    "u2cut work s3://shop/job/ --shards 0-99",
    "u2cut report s3://shop/job/",
)


@takes(
    InputOptions,
    OutputOptions,
    CutoutOptions,
    CanvasOptions,
    EdgeOptions,
    NetworkOptions,
    without=("output",),
    as_values=True,
)
def manifest(
    input_: dict[str, Any],
    output: dict[str, Any],
    cutout: dict[str, Any],
    canvas: dict[str, Any],
    edge: dict[str, Any],
    network: dict[str, Any],
    *,
    inputs: Inputs = None,
    job: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="JOB", help="Folder or address of the job."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(metavar="OUT", help="Folder or address of the results.")
    ] = None,
    inventory: Annotated[
        str | None,
        typer.Option(
            metavar="CSV",
            help="Take the photos from an S3 inventory (CSV, also .gz).",
            show_default="none",
        ),
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, metavar="N", help="Photos in a shard.")] = 1000,
) -> None:
    """Divide photos into shards for many machines.

    Writes a job: lists of a thousand photos each, and what 'u2cut remove' would be told. 'u2cut
    work' does shards of it; nothing else is needed, so any scheduler will do.
    """
    console.configure_logging()
    if job is None or to is None:
        raise UsageError("say where the job goes with -o JOB, and its results with --to OUT")
    from u2cut.batch.inputs import inventory as photos_of
    from u2cut.batch.job import Description, JobFolder, plain
    from u2cut.batch.plan import plan
    from u2cut.batch.work import hash_of
    from u2cut.version import __version__

    values = {
        "input": input_, "output": {**output, "output": to}, "cutout": cutout, "canvas": canvas,
        "edge": edge, "network": network,
    }  # fmt: skip
    draft = Description(__version__, "", 0, 0, os.getcwd(), plain(values))  # noqa: PTH109
    options = draft.batch_options()
    folder = JobFolder.at(job)
    folder.refuse_existing()
    weights = hash_of(draft)
    found = photos_of(inventory) if inventory else ()
    words = tuple(inputs or ())
    with plan(
        words, options.input, options.output, label="cutout", more=found, pinned=True
    ) as jobs:
        check_formats(jobs, options)
        shards = folder.fill(jobs, shard_size)
        # A shard that is begun again replaces what it wrote before.
        again = {**values["output"], "overwrite": not options.output.skip_existing}
        kept = plain({**values, "output": again})
        folder.describe(
            replace(draft, weights=weights, photos=len(jobs), shards=shards, options=kept)
        )
        console.logger.log(
            console.NOTICE, "%d photos in %d shards: u2cut work %s", len(jobs), shards, folder.place
        )
