"""The scores as a plain table, in Markdown, and as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from u2cut.console import logger, progress
from u2cut.datasets.pairs import SKIPPING, Pair, refuse
from u2cut.errors import DataError
from u2cut.evaluation import paper
from u2cut.evaluation.judge import Fault, Judged
from u2cut.evaluation.summary import Bad, RunningMeans, SetScores, Worst

_COLUMNS: Final = {
    "max_f": ("maxFβ↑", ".3f"),
    "mae": ("MAE↓", ".3f"),
    "weighted_f": ("wFβ↑", ".3f"),
    "s_measure": ("Sα↑", ".3f"),
    "boundary_f": ("bFβ↑", ".3f"),
    "mean_f": ("meanFβ↑", ".3f"),
    "adaptive_f": ("adpFβ↑", ".3f"),
    "e_measure": ("Eξ↑", ".3f"),
    "iou": ("IoU↑", ".3f"),
    "mattes": ("mattes", "d"),
    "sad": ("SAD↓", ".2f"),
    "mse": ("MSE↓", ".4f"),
    "gradient": ("Grad↓", ".2f"),
    "connectivity": ("Conn↓", ".2f"),
}
_MATTE: Final = ("mattes", "sad", "mse", "gradient", "connectivity")
_LABELS: Final = 3  # the first columns are texts and a count


@dataclass(frozen=True)
class Report:
    """The result of an evaluation.

    Attributes:
        source: What made the maps.
        sets: Scores by the sets' names.
        overall: Scores over all photos, if there are several sets.
        worst: The worst photos, the worst first.
        skipped: Why pairs were left out; each text names the file.
    """

    source: str
    sets: Mapping[str, SetScores]
    overall: SetScores | None
    worst: Sequence[Bad]
    skipped: Sequence[str]


def gather(
    source: str,
    pairs: Sequence[Pair],
    outcomes: Iterable[Judged | Fault],
    *,
    worst: int = 0,
    skipped: Sequence[str] = (),
    skip_bad: bool = False,
    quiet: bool = False,
) -> Report:
    """Take in what became of each pair.

    Args:
        source: What made the maps.
        pairs: The pairs, in the order of the outcomes.
        outcomes: Drawn from one by one; none is kept.
        worst: How many of the worst photos to remember.
        skipped: Why pairs were left out already.
        skip_bad: Leave out invalid pairs, with a warning each.
        quiet: Show no progress.

    Raises:
        DataError: A pair is invalid, or none is left.
    """
    sets: dict[str, RunningMeans] = {}
    bad, faults = Worst(worst), list(skipped)
    with progress(len(pairs), unit="photo", quiet=quiet) as bar:
        for pair, outcome in zip(pairs, outcomes, strict=True):
            bar.update()
            if isinstance(outcome, Fault):
                faults.append(outcome.reason)
                continue
            sets.setdefault(pair.group, RunningMeans()).add(outcome.photo)
            bad.add(outcome)
    if not skip_bad:
        refuse(faults, SKIPPING)
    for fault in faults:
        logger.warning("left out: %s", fault)
    if not sets:
        raise DataError("there is nothing to judge: no pair of photo and mask is left")
    overall = RunningMeans()
    for means in sets.values():
        overall.join(means)
    return Report(
        source=source,
        sets={name: means.means() for name, means in sets.items()},
        overall=overall.means() if len(sets) > 1 else None,
        worst=bad.photos(),
        skipped=faults,
    )


def as_text(report: Report) -> str:
    """Return an aligned table."""
    table = _table(report)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i < _LABELS - 1 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    return "\n".join(lines) + "\n"


def as_markdown(report: Report) -> str:
    """Return a Markdown table."""
    head, *body = [
        "| " + " | ".join(c.replace("|", r"\|") for c in row) + " |" for row in _table(report)
    ]
    columns = head.count(" | ") + 1
    rule = "|" + "---|" * (_LABELS - 1) + "---:|" * (columns - _LABELS + 1)
    return "\n".join([head, rule, *body]) + "\n"


def as_json(report: Report) -> str:
    """Return one JSON object."""
    overall = report.overall
    return (
        json.dumps(
            {
                "source": report.source,
                "sets": [
                    {"name": name, **_record(scores), "paper": paper.rows(name)}
                    for name, scores in report.sets.items()
                ],
                "overall": None if overall is None else _record(overall),
                "worst": [
                    {"name": bad.pair.name, "mae": round(bad.mae, 6)} for bad in report.worst
                ],
                "skipped": list(report.skipped),
            },
            ensure_ascii=False,
            indent=2,
        )
        + "\n"
    )


def _values(scores: SetScores) -> dict[str, float]:
    matte = {} if scores.matte is None else {"mattes": scores.mattes, **asdict(scores.matte)}
    return {"max_f": scores.max_f, **asdict(scores.scores), **matte}


def _record(scores: SetScores) -> dict[str, object]:
    values = {name: round(value, 6) for name, value in _values(scores).items()}
    return {"photos": scores.photos, "scores": values}


def _table(report: Report) -> list[list[str]]:
    """Return the cells, the header first."""
    mattes = any(scores.mattes for scores in report.sets.values())
    names = [name for name in _COLUMNS if mattes or name not in _MATTE]

    def row(set_name: str, source: str, photos: str, values: Mapping[str, float]) -> list[str]:
        cells = [format(values[n], _COLUMNS[n][1]) if n in values else "" for n in names]
        return [set_name, source, photos, *cells]

    table = [["data", "maps", "photos", *(_COLUMNS[name][0] for name in names)]]
    for name, scores in report.sets.items():
        table.append(row(name, report.source, str(scores.photos), _values(scores)))
        table += [row(name, f"{m}, paper", "", v) for m, v in paper.rows(name).items()]
    if report.overall is not None:
        overall = report.overall
        table.append(row("all", report.source, str(overall.photos), _values(overall)))
    return table
