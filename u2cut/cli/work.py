"""``u2cut work``: shards of a job, on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from u2cut import console
from u2cut.cli.options import Quiet, Verbose, examples
from u2cut.errors import ExitCode
from u2cut.options import RunOptions

EXAMPLES = examples(
    "u2cut manifest photos/ -r -o job/ --to cut/",
    "u2cut work job/",
    "u2cut work s3://shop/job/ --shards $SLURM_ARRAY_TASK_ID",
)


def work(
    *,
    job: Annotated[Path, typer.Argument(help="What 'u2cut manifest' wrote.", show_default=False)],
    shards: Annotated[
        str,
        typer.Option(metavar="A-B", help="Which shards; by default all of them.", show_default=""),
    ] = "",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=256,
            help="Threads that decode and encode.",
            metavar="N",
            show_default="one a core, up to 8",
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Cut out shards of a job that 'u2cut manifest' has written.

    Passes over shards that are done. A shard counts as done when its journal is there, which is
    written last: one that was broken off is done again. A photo that brings down its process
    fails alone.
    """
    run = RunOptions(jobs=jobs, quiet=quiet, verbose=verbose)
    console.configure_logging(quiet=quiet, verbose=verbose)
    with console.protect_stdout():
        from u2cut.batch import work as workers
        from u2cut.batch.job import JobFolder, parse_shards

        folder = JobFolder.at(job)
        numbers = parse_shards(shards, folder.description().shards)
        done = failed = 0
        with console.progress(len(numbers), unit="shard", quiet=quiet) as bar:
            for records in workers.work(folder, numbers, run, report=lambda _: bar.update()):
                done += len(records)
                failed += sum(record["status"] == "failed" for record in records)
    console.logger.log(console.NOTICE, "%d photos done, %d failed", done - failed, failed)
    if failed:
        raise SystemExit(int(ExitCode.PARTIAL))
