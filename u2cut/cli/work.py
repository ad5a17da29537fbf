"""``u2cut work``: shards of a job, on this machine."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from u2cut import console
from u2cut.cli.options import Quiet, Verbose, examples
from u2cut.errors import ExitCode, UsageError
from u2cut.options import RunOptions


class Scheduler(StrEnum):
    """What places the workers."""

    RAY = "ray"


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
    on: Annotated[
        Scheduler | None,
        typer.Option(
            metavar="ray",
            help="Place the workers on a cluster.",
            show_default="this process",
            rich_help_panel="Cluster",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Of the cluster, or auto.",
            show_default="one on this machine",
            rich_help_panel="Cluster",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Workers on the cluster; --jobs CPUs each.",
            show_default="as many as have room",
            rich_help_panel="Cluster",
        ),
    ] = None,
    gpus: Annotated[
        float,
        typer.Option(
            min=0,
            metavar="X",
            help="GPUs of each worker.",
            rich_help_panel="Cluster",
        ),
    ] = 0.0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Cut out shards of a job that 'u2cut manifest' has written.

    Passes over shards that are done, and goes on with one that was broken off. A photo that brings
    down its process fails alone.
    """
    if on is None and (address or workers or gpus):
        raise UsageError("--address, --workers and --gpus are about a cluster: add --on ray")
    run = RunOptions(jobs=jobs, quiet=quiet, verbose=verbose)
    console.configure_logging(quiet=quiet, verbose=verbose)
    with console.protect_stdout():
        from u2cut.batch.job import JobFolder, parse_shards

        folder = JobFolder.at(job)
        numbers = parse_shards(shards, folder.description().shards)
        done = failed = 0
        with console.progress(len(numbers), unit="shard", quiet=quiet) as bar:
            if on is Scheduler.RAY:
                from u2cut.batch.cluster import work_on_ray

                finished = work_on_ray(
                    folder,
                    numbers,
                    run,
                    address=address,
                    workers=workers,
                    gpus=gpus,
                    report=bar.update,
                )
            else:
                from u2cut.batch.work import work as work_here

                finished = work_here(folder, numbers, run, report=bar.update)
            for records in finished:
                done += len(records)
                failed += sum(record["status"] == "failed" for record in records)
    console.logger.log(console.NOTICE, "%d photos done, %d failed", done - failed, failed)
    if failed:
        raise SystemExit(int(ExitCode.PARTIAL))
