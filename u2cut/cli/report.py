"""``u2cut report``: what a journal says, in few lines or as a contact sheet."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from u2cut import console
from u2cut.cli.options import Json, examples
from u2cut.errors import OutputError, UsageError, printable
from u2cut.files.address import address_of

if TYPE_CHECKING:
    from u2cut.batch.summary import JournalSummary

_MOST_SHOWN = 20


EXAMPLES = examples(
    "u2cut remove photos/ -o out/ --journal night.jsonl",
    "u2cut report night.jsonl",
    "u2cut report night.jsonl --sheet review.html",
)


def report(
    *,
    journal: Annotated[
        Path,
        typer.Argument(help="What --journal wrote, or the folder of a job.", show_default=False),
    ],
    as_json: Json = False,
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a contact sheet, one HTML file: before and after on green, the least "
            "certain first.",
            show_default=False,
        ),
    ] = None,
    most: Annotated[
        int, typer.Option(min=1, metavar="N", help="Photos on the sheet at most.")
    ] = 200,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a sheet that exists.")
    ] = False,
) -> None:
    """Sum up a run's journal, or those of a job.

    Says how many photos are done, failed (and why) and left, how many look doubtful, and photos
    a second.
    """
    if sheet is not None and os.path.lexists(sheet) and not overwrite:
        raise OutputError("exists already", path=sheet, remedy="--overwrite replaces it")
    if sheet is not None and (journal.is_dir() or address_of(journal)):
        raise UsageError("--sheet is about a journal, not a job")
    with console.protect_stdout() as stdout:
        found = _summary(journal)
        text = json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(_lines(found))
        stdout.write(text.encode() + b"\n")
        if sheet is not None:
            _write_sheet(journal, sheet, most, overwrite=overwrite)


def _summary(path: Path) -> "JournalSummary":
    from u2cut.batch.job import JobFolder
    from u2cut.batch.summary import summarise_job, summarise_journal

    is_job = path.is_dir() or address_of(path) is not None
    return summarise_job(JobFolder.at(path)) if is_job else summarise_journal(path)


def _write_sheet(journal: Path, path: Path, most: int, *, overwrite: bool) -> None:
    from u2cut.batch.sheet import entries, sheet
    from u2cut.files.sink import Sink

    found = entries(journal)
    with console.progress(min(most, len(found)), unit="photo", label="sheet") as bar:
        parts = []
        for part in sheet(found, title=journal.name, most=most):
            parts.append(part)
            bar.update()
    Sink(overwrite=overwrite).write(str(path), b"".join(parts))


def _lines(found: "JournalSummary") -> Iterator[str]:
    yield f"runs      {found.runs:>9,}  {found.started} to {found.ended}"
    rate = f"  {found.photos_per_second:.2f} photos/s in {found.seconds:,.0f} s"
    yield f"ok        {found.ok:>9,}{rate if found.ok else ''}"
    yield f"doubtful  {found.doubtful:>9,}"
    yield f"skipped   {found.skipped:>9,}"
    yield f"failed    {found.failed:>9,}"
    for reason in found.reasons[:_MOST_SHOWN]:
        error, example = printable(reason.error), printable(reason.example)
        yield f"          {reason.count:>9,}  {error} (as {example})"
    more = sum(reason.count for reason in found.reasons[_MOST_SHOWN:])
    if more:
        yield f"          {more:>9,}  for other reasons; --json names them"
    yield f"left      {found.left:>9,}"
