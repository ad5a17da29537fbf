"""``u2cut report``: what a journal says, in few lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from u2cut import console
from u2cut.cli.options import Json, examples
from u2cut.errors import printable

if TYPE_CHECKING:
    from u2cut.batch.summary import JournalSummary

_MOST_SHOWN = 20


EXAMPLES = examples(
    "u2cut remove photos/ -o out/ --journal night.jsonl", "u2cut report night.jsonl"
)


def report(
    *,
    journal: Annotated[Path, typer.Argument(help="What --journal wrote.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Sum up a run's journal.

    Says how many photos are done, failed (and why) and left, and photos a second.
    """
    with console.protect_stdout() as stdout:
        from u2cut.batch.summary import summarise_journal

        found = summarise_journal(journal)
        text = json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(_lines(found))
        stdout.write(text.encode() + b"\n")


def _lines(found: "JournalSummary") -> Iterator[str]:
    yield f"runs      {found.runs:>9,}  {found.started} to {found.ended}"
    rate = f"  {found.photos_per_second:.2f} photos/s in {found.seconds:,.0f} s"
    yield f"ok        {found.ok:>9,}{rate if found.ok else ''}"
    yield f"skipped   {found.skipped:>9,}"
    yield f"failed    {found.failed:>9,}"
    for reason in found.reasons[:_MOST_SHOWN]:
        error, example = printable(reason.error), printable(reason.example)
        yield f"          {reason.count:>9,}  {error} (as {example})"
    more = sum(reason.count for reason in found.reasons[_MOST_SHOWN:])
    if more:
        yield f"          {more:>9,}  for other reasons; --json names them"
    yield f"left      {found.left:>9,}"
