"""Pictures of a run: a sheet of maps, and the curves of loss and measures."""

import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.console import logger
from u2cut.training.cache import Cache
from u2cut.training.checkpoint import write
from u2cut.training.validate import ALL

_CELL: Final = 128  # pixels
_HEADINGS: Final = ("photo", "truth", "fused", *(f"side {k}" for k in range(1, 7)))


def draw_sheet(path: Path, cache: Cache, maps: NDArray[np.float32]) -> None:
    """Write a PNG with a row for each of the first photos: photo, truth, the seven maps.

    Args:
        path: The PNG.
        cache: The photos and masks.
        maps: Fused map and side outputs of the first B photos, (B, 7, S, S) in [0, 1].
    """
    heading = np.full((20, _CELL * len(_HEADINGS), 3), 255, np.uint8)
    for k, text in enumerate(_HEADINGS):
        place = (k * _CELL + 4, 14)
        cv2.putText(heading, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    rows = [heading]
    for i, outputs in enumerate(maps):
        greys = [cache.mask(i), *(outputs * 255 + 0.5).astype(np.uint8)]
        cells = [cache.photo(i), *(np.repeat(grey[:, :, None], 3, axis=2) for grey in greys)]
        small = [cv2.resize(c, (_CELL, _CELL), interpolation=cv2.INTER_AREA) for c in cells]
        rows.append(np.concatenate(small, axis=1))
    sheet = np.concatenate(rows)[:, :, ::-1]
    data = cv2.imencode(".png", sheet)[1].tobytes()
    write(path, data)


def draw_curves(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write a PNG with the fused map's loss and the validation measures over the steps.

    Without matplotlib, only say how to get it.
    """
    if importlib.util.find_spec("matplotlib") is None:
        logger.warning("no %s: it needs matplotlib, pip install 'u2cut[train]'", path.name)
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    losses, measures = figure.subplots(1, 2)
    logged = [r for r in records if "loss" in r]
    losses.plot([r["step"] for r in logged], [r["loss"][0] for r in logged])
    losses.set(xlabel="step", ylabel="cross-entropy of the fused map")
    measured = [r for r in records if "val" in r]
    for name in measured[0]["val"] if measured else ():
        steps, ious = zip(*((r["step"], r["val"][name]["iou"]) for r in measured), strict=True)
        style = {"color": "black", "linewidth": 2.5} if name == ALL else {"linewidth": 0.8}
        measures.plot(steps, ious, label=name, **style)
    measures.set(xlabel="step", ylabel="validation IoU")
    if measured:
        measures.legend(fontsize=6)
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)  # type: ignore[no-untyped-call]
    write(path, buffer.getvalue())
