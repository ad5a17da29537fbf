"""The evaluation's pictures: its curves, and a sheet of the worst photos."""

import io
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from u2cut.datasets.masks import read_frame, read_truth
from u2cut.errors import printable
from u2cut.evaluation.curves import f_beta
from u2cut.evaluation.summary import THUMBNAIL, Bad, SetScores

_CAPTION: Final = 24
_GAP: Final = 8


def plot_curves(sets: Mapping[str, SetScores]) -> bytes:
    """Draw precision against recall, and Fβ against the threshold; needs matplotlib.

    Args:
        sets: Scores by name, a line each.

    Returns:
        A PNG file.
    """
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, scores in sets.items():
        curve = f_beta(scores.precision, scores.recall)
        left.plot(scores.recall, scores.precision, label=printable(name))
        right.plot(np.arange(255, -1, -1), curve, label=f"{printable(name)}, max {curve.max():.3f}")
    left.set(xlabel="recall", ylabel="precision", title="Precision and recall")
    right.set(xlabel="threshold", ylabel="Fβ, β² = 0.3", title="Fβ")
    for axes in (left, right):
        axes.set_ylim(0, 1.02)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left" if axes is left else "lower center")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def draw_sheet(worst: Sequence[Bad]) -> bytes:
    """Draw a row for each photo: itself, the truth, the map.

    Args:
        worst: The photos; they are read again.

    Returns:
        A PNG file.

    Raises:
        DataError: A photo can't be read.
    """
    width, height = THUMBNAIL
    step = height + _CAPTION + _GAP
    sheet = Image.new("RGB", (3 * (width + _GAP) + _GAP, len(worst) * step + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for row, bad in enumerate(worst):
        top = row * step + _GAP
        caption = f"{row + 1}.  {printable(bad.pair.name)}   MAE {bad.mae:.3f}"
        draw.text((_GAP, top), caption, "black", font)
        for column, title in ((1, "truth"), (2, "map")):
            draw.text((_GAP + column * (width + _GAP), top), title, "gray", font)
        pictures = (read_frame(bad.pair.image).image, read_truth(bad.pair.mask), bad.saliency)
        for column, pixels in enumerate(pictures):
            picture = Image.fromarray(pixels).convert("RGB")
            picture.thumbnail(THUMBNAIL)
            sheet.paste(picture, (_GAP + column * (width + _GAP), top + _CAPTION))
    file = io.BytesIO()
    sheet.save(file, "PNG")
    return file.getvalue()
