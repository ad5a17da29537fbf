"""``u2cut report``: what a journal says, in few lines."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from u2cut import console

if TYPE_CHECKING:
    from u2cut.batch.summary import Tally

_MOST_SHOWN = 20


@click.command
@click.argument("journal", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")
def report(journal: Path, *, as_json: bool) -> None:
    """Sum up a run's journal: done, failed by reason, left, photos a second."""
    with console.protect_stdout() as stdout:
        from u2cut.batch.summary import tally

        found = tally(journal)
        text = json.dumps(found.as_dict(), indent=2) if as_json else "\n".join(_lines(found))
        stdout.write(text.encode() + b"\n")


def _lines(found: "Tally") -> Iterator[str]:
    yield f"runs      {found.runs:>9,}  {found.started} to {found.ended}"
    rate = f"  {found.photos_per_second:.2f} photos/s in {found.seconds:,.0f} s"
    yield f"ok        {found.ok:>9,}{rate if found.ok else ''}"
    yield f"skipped   {found.skipped:>9,}"
    yield f"failed    {found.failed:>9,}"
    for reason in found.reasons[:_MOST_SHOWN]:
        error, example = console.printable(reason.error), console.printable(reason.example)
        yield f"          {reason.count:>9,}  {error} (as {example})"
    more = sum(reason.count for reason in found.reasons[_MOST_SHOWN:])
    if more:
        yield f"          {more:>9,}  for other reasons; --json names them"
    yield f"left      {found.left:>9,}"
