"""The common part of ``u2cut remove`` and ``u2cut mask``: plan, refuse, run, and the exit code."""

import gc
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from u2cut import console, weights
from u2cut.batch.plan import Plan, plan
from u2cut.cli.options import on_terminal
from u2cut.errors import ExitCode, OutputError, UsageError, printable
from u2cut.files import STD
from u2cut.files.address import address_of
from u2cut.files.remote import Existing
from u2cut.imaging.formats import Format
from u2cut.options import BatchOptions, Product

if TYPE_CHECKING:
    from u2cut.batch.journal import Journal
    from u2cut.batch.result import Result

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUTS]...",
        help="Photos, folders, patterns, addresses (s3://, gs://, az://, https://), or '-' for "
        "stdin.",
        show_default=False,
    ),
]


def run_batch(options: BatchOptions, *, label: str) -> None:
    """Plan, refuse what must be refused, run, and exit with the run's code."""
    console.configure_logging(quiet=options.run.quiet, verbose=options.run.verbose)
    if options.network.weights is not None:
        weights.local(options.network.weights)  # no such file? better now than after the planning
    for path in (options.run.journal, options.run.resume_from):
        if path is not None and address_of(path):
            raise UsageError("a journal is a local file", path=address_of(path))
    if options.run.resume_from is not None:
        options = _resumed(options, options.run.resume_from)
    with _planned(options, label) as jobs:
        if not len(jobs):
            console.logger.info("nothing is left to do: all %d inputs are done", jobs.finished)
            return
        check_formats(jobs, options)
        if options.run.dry_run:
            _show(jobs, options)
            return
        with (
            console.protect_stdout() as stdout,
            _journal(jobs, options) as journal,
            _no_garbage() as loaded,
        ):
            from u2cut.batch.run import run

            def report(result: "Result") -> None:
                loaded()
                if journal is not None:
                    journal.add(result)
                if options.run.json:
                    stdout.write(json.dumps(result.record()).encode() + b"\n")

            summary = run(jobs, options, stdout=stdout, report=report)
    console.logger.info("%s", summary)
    if on_terminal(sys.stderr) and not options.run.verbose:
        place = options.output.output
        where = f" in {printable(place)}" if place not in (None, STD) else ""
        console.logger.log(console.NOTICE, "%s%s%s", summary.counted(), where, summary.doubts())
    code = summary.exit_code
    if not code and jobs.unlisted:
        code = ExitCode.PARTIAL  # nobody knows what photos are there
    if code:
        raise SystemExit(int(code))


def _show(jobs: Plan, options: BatchOptions) -> None:
    """Write what a run would do: a line for each job, tab between input, output and status."""
    existing = Existing(options.output.output)
    with console.protect_stdout() as stdout:
        for job in jobs:
            there = job.target != STD and job.target in existing
            status = "skipped" if there and options.output.skip_existing else "planned"
            if options.run.json:
                entry = {"input": job.source, "output": job.target, "status": status}
                stdout.write(json.dumps(entry).encode() + b"\n")
            else:
                names = (printable(job.source), printable(job.target), status)
                stdout.write("\t".join(names).encode("utf-8", "surrogateescape") + b"\n")


@contextmanager
def _no_garbage() -> Iterator[Callable[[], None]]:
    """Keep the garbage collector away until all is loaded, which the caller then says.

    Modules are no garbage; to look for some in them takes 0.3 s of a single photo with torch.
    """

    def loaded() -> None:
        if not gc.isenabled():
            gc.freeze()  # nor later
            gc.enable()

    gc.disable()
    try:
        yield loaded
    finally:
        gc.enable()


def _resumed(options: BatchOptions, journal: Path) -> BatchOptions:
    """Return the options of a run that goes on from a journal."""
    output = replace(options.output, skip_existing=not options.output.overwrite)
    return replace(
        options, output=output, run=replace(options.run, journal=options.run.journal or journal)
    )


def _planned(options: BatchOptions, label: str) -> Plan:
    journal = options.run.resume_from
    if journal is not None and not os.path.lexists(journal):
        # So that one command does for the first night and for every other.
        console.logger.log(
            console.NOTICE, "%s: not there yet, so a new one begins", printable(journal)
        )
        journal = None
    if journal is None:
        return plan(options.inputs, options.input, options.output, label=label)
    from u2cut.batch.journal import Identities, finished, refuse_other_options

    refuse_other_options(journal, options.of_results())
    done, identity = finished(journal), Identities()
    return plan(
        options.inputs,
        options.input,
        options.output,
        label=label,
        is_finished=lambda source, target: identity(source, target) in done,
    )


def _journal(jobs: Plan, options: BatchOptions) -> "AbstractContextManager[Journal | None]":
    if options.run.journal is None:
        return nullcontext()
    from u2cut.batch.journal import Journal

    return Journal(options.run.journal, photos=len(jobs), options=options.of_results())


def check_formats(jobs: Plan, options: BatchOptions) -> None:
    """Refuse what could only fail at the end: alpha into JPEG, pictures onto a terminal."""
    opaque = (
        options.render.product is not Product.CUTOUT or options.render.cutout.behind is not None
    )
    first = next(iter(jobs))
    if (options.output.format or first.format) == Format.JPG and not opaque:
        raise OutputError(
            "jpg has no transparency: add --background COLOR, or write png, webp, tiff or avif"
        )
    written = options.output.format or first.format or Format.PNG
    if options.render.product is Product.TRIMAP and written not in (Format.PNG, Format.TIFF):
        raise UsageError(f"a trimap has three values, which {written} doesn't keep: write png")
    if options.output.quality is not None and written in (Format.PNG, Format.TIFF):
        raise UsageError(f"--quality is about webp, avif and jpg; {written} keeps every pixel")
    if options.output.keep_gps and written is Format.TIFF:
        raise UsageError("--keep-gps: tiff holds no place here; write png, webp, avif or jpg")
    if first.target == STD:
        if sys.stdout is not None and sys.stdout.isatty():
            raise UsageError(
                "pictures aren't written to a terminal: name a file with -o, or use a pipe"
            )
        if options.run.json:
            raise UsageError("stdout can't carry both the picture and --json: name a file with -o")
