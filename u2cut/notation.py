"""What users write for a colour or a margin. No numpy, no PIL until a colour is read."""

import re
from dataclasses import dataclass

from u2cut.console import printable
from u2cut.errors import UsageError


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
