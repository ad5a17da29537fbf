"""The progress bar of long work, drawn by Rich on a terminal (see ``console.progress``)."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text


class _Speed(ProgressColumn):
    """Units a second: ``8.7 photos/s``."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        """Return the text."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.3g} {self._unit}s/s" if speed else "", style="progress.data.speed")


class Bar:
    """A bar on stderr.

    Args:
        total: How many units there will be; None when nobody knows.
        unit: What is counted, "photo" or "B" (bytes).
        label: A short text before the bar.
    """

    def __init__(self, total: int | None, unit: str, label: str) -> None:
        counted = (
            [DownloadColumn(binary_units=True), TransferSpeedColumn()]
            if unit == "B"
            else [MofNCompleteColumn(), _Speed(unit)]
        )
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            *counted,
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=Console(file=sys.stderr),
            redirect_stdout=False,
            redirect_stderr=False,
            expand=True,
        )
        self._task = self._progress.add_task(label, total=total, text="")

    def update(self, n: int = 1) -> None:
        """Move on by ``n``."""
        self._progress.update(self._task, advance=n)

    def show(self, text: str) -> None:
        """Show a short text behind the bar."""
        self._progress.update(self._task, text=text)

    def write(self, line: str) -> None:
        """Print a line above the bar, however long it is."""
        self._progress.console.print(line, soft_wrap=True, markup=False, highlight=False)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()
