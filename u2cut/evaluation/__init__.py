"""The paper's metrics, and what judges networks, mattes and other tools' maps by them.

>>> from u2cut.evaluation import evaluate
>>> report = evaluate("DUTS-TE/", model="u2net")
>>> report.sets["DUTS-TE"].scores.mae
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from u2cut.evaluation.report import Report


def evaluate(
    *data: "str | os.PathLike[str]", worst: int = 0, quiet: bool = True, **options: Any
) -> "Report":
    """Score maps on photos with known masks, as ``u2cut eval`` does.

    Args:
        data: Data sets, or folders with data sets inside.
        worst: How many of the worst photos the report names.
        quiet: Show no progress.
        options: Other options of ``u2cut eval`` by their names in Python: ``images`` and
            ``masks`` instead of ``data``, ``pred``, ``matting``, ``names``, ``ignore``,
            ``skip_bad``, ``jobs``; and those of the network: ``model``, ``weights``, ``engine`` ...

    Returns:
        The scores of each data set and of all photos.

    Raises:
        UsageError: Options are unknown, out of their limits, or contradict each other.
        DataError: A photo or a mask is invalid, or none is left.
        WeightsError: The weights are not available.
    """
    from u2cut.describe import take
    from u2cut.errors import UsageError, printable
    from u2cut.evaluation.options import EvalOptions
    from u2cut.evaluation.run import judge
    from u2cut.options import NetworkOptions

    given = {**options, "data": list(data)}
    judged, network = EvalOptions(**take(given, EvalOptions)), take(given, NetworkOptions)
    if given:
        raise UsageError(f"there is no option {printable(next(iter(given)))}")
    return judge(judged, NetworkOptions(**network), worst=worst, quiet=quiet)
