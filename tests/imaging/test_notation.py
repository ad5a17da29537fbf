import subprocess
import sys

import pytest

from u2cut.errors import UsageError
from u2cut.notation import Margin, parse_color, parse_margin


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", (255, 255, 255)),
        ("RebeccaPurple", (102, 51, 153)),
        ("#f80", (255, 136, 0)),
        ("#0A0b0C", (10, 11, 12)),
        ("0,128,255", (0, 128, 255)),
        (" 1, 2 ,3 ", (1, 2, 3)),
    ],
)
def test_colours_are_read(text: str, colour: tuple[int, int, int]) -> None:
    assert parse_color(text) == colour


@pytest.mark.parametrize(
    "text",
    ["", "whyte", "#12", "#12345", "#ggg", "256,0,0", "1,2", "-1,2,3", "１,2,3", "a\nb", "#ffff"],
)
def test_what_is_no_colour_is_refused_with_the_way_out(text: str) -> None:
    with pytest.raises(UsageError, match="#rrggbb") as caught:
        parse_color(text)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("text", "margin"),
    [
        ("0", Margin(0, percent=False)),
        ("20", Margin(20, percent=False)),
        ("20px", Margin(20, percent=False)),
        ("7.5%", Margin(7.5, percent=True)),
        (" 5 % ", Margin(5, percent=True)),
    ],
)
def test_margins_are_read(text: str, margin: Margin) -> None:
    assert parse_margin(text) == margin


@pytest.mark.parametrize("text", ["", "-1", "5em", "%", "1e9", "nan", "1,5"])
def test_what_is_no_margin_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="percent"):
        parse_margin(text)


def test_a_percentage_is_of_the_longer_side() -> None:
    assert Margin(10, percent=True).pixels(200, 55) == 20
    assert Margin(7, percent=False).pixels(200, 55) == 7


def test_reading_what_users_write_imports_nothing_heavy() -> None:
    code = (
        "import sys; from u2cut.notation import parse_color, parse_margin;"
        "parse_margin('5%'); parse_color('1,2,3');"
        "sys.exit(bool({'numpy', 'PIL', 'cv2', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
