"""Colours, margins and sizes as users write them. No numpy, no PIL until a colour is read."""

import re
from dataclasses import dataclass

from u2cut.errors import UsageError, printable


def parse_color(text: str) -> tuple[int, int, int]:
    """Read a colour: a CSS name, ``#rgb``, ``#rrggbb`` or ``r,g,b`` with 0 to 255 each.

    Raises:
        UsageError: It is none of these.
    """
    if re.fullmatch(r"\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*", text, re.ASCII):
        red, green, blue = (int(part) for part in text.split(","))
        if max(red, green, blue) <= 255:
            return red, green, blue
    elif re.fullmatch(r"[a-zA-Z]+|#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})", text):
        from PIL import ImageColor

        try:
            red, green, blue = ImageColor.getrgb(text)[:3]
        except ValueError:
            pass
        else:
            return red, green, blue
    raise UsageError(
        f"no colour: {printable(text)} (give a CSS name such as white, #rrggbb, "
        "or r,g,b with 0 to 255 each)"
    )


@dataclass(frozen=True)
class Margin:
    """A margin around the subject.

    Attributes:
        amount: >= 0, in pixels, or in percent of the subject's longer side.
        percent: Which of the two.
    """

    amount: float
    percent: bool

    def pixels(self, height: int, width: int) -> int:
        """The margin of a subject of this size, in whole pixels."""
        return round(max(height, width) * self.amount / 100 if self.percent else self.amount)


def parse_margin(text: str) -> Margin:
    """Read a margin: ``20`` or ``20px`` (pixels), ``5%`` (of the subject's longer side).

    Raises:
        UsageError: It is none of these.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)\s*(px|%|)", text.strip(), re.ASCII)
    if match is None:
        raise UsageError(f"no margin: {printable(text)} (give pixels, as 20, or percent, as 5%)")
    return Margin(float(match[1]), match[2] == "%")


@dataclass(frozen=True)
class Canvas:
    """The size of a result into which the subject is placed.

    Attributes:
        width: In pixels, or as a ratio to the height; 0 is the photo's own.
        height: Likewise.
        pixels: Whether the two are pixels.
    """

    width: int
    height: int
    pixels: bool


def parse_canvas(text: str) -> Canvas:
    """Read a canvas: ``2000x1500`` (pixels), ``4:5`` (a ratio), ``square`` or ``photo``.

    Raises:
        UsageError: It is none of these, or larger than 65,535 pixels a side.
    """
    if text.strip().lower() == "square":
        return Canvas(1, 1, pixels=False)
    if text.strip().lower() == "photo":
        return Canvas(0, 0, pixels=True)
    match = re.fullmatch(r"(\d{1,5})\s*([xX:])\s*(\d{1,5})", text.strip(), re.ASCII)
    if match is None or not (1 <= int(match[1]) <= 65535 and 1 <= int(match[3]) <= 65535):
        raise UsageError(
            f"no canvas: {printable(text)} (give pixels, as 2000x2000, a ratio, as 4:5, square, or "
            "photo)"
        )
    return Canvas(int(match[1]), int(match[3]), pixels=match[2] != ":")


def parse_share(text: str) -> float:
    """Read a share: ``85%`` or ``0.85``.

    Raises:
        UsageError: It is none, or not above 0 and at most 1.
    """
    match = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)\s*(%?)", text.strip(), re.ASCII)
    share = float(match[1]) / (100 if match[2] else 1) if match else 0.0
    if not 0 < share <= 1:
        raise UsageError(f"no share: {printable(text)} (give a percentage up to 100%, as 85%)")
    return share


@dataclass(frozen=True)
class Position:
    """A place within free space.

    Attributes:
        across: 0 is left, 1 is right.
        down: 0 is at the top, 1 at the bottom.
        standing: At the bottom, but for the margin that is left at the other sides.
    """

    across: float = 0.5
    down: float = 0.5
    standing: bool = False


def parse_position(text: str) -> Position:
    """Read a position: ``center``, ``bottom`` or ``X%,Y%`` of the free space.

    Raises:
        UsageError: It is none of these.
    """
    word = text.strip().lower()
    if word in ("center", "centre"):
        return Position()
    if word == "bottom":
        return Position(standing=True)
    match = re.fullmatch(r"(\d{1,3}(?:\.\d+)?)%\s*,\s*(\d{1,3}(?:\.\d+)?)%", word, re.ASCII)
    if match is None or not (float(match[1]) <= 100 and float(match[2]) <= 100):
        raise UsageError(
            f"no position: {printable(text)} (give center, bottom, or X%,Y% as 50%,80%)"
        )
    return Position(float(match[1]) / 100, float(match[2]) / 100)
