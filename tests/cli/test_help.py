"""Help, guesses and refusals of the command line, in one style."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.pictures import Outcome

Run = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("remov", "a.jpg"), "did you mean 'remove'?"),
        (("i", "in.jpg", "out.png"), "type: u2cut remove photo.jpg -o cutout.png"),
        (("p", "in/", "out/"), "type: u2cut remove photos/ -o cutouts/"),
        (("remove", "--outptu", "x"), "did you mean --output?"),
        (("remove", "--gpu", "x"), "did you mean --device cuda?"),
        (("remove", "--alpha-matting", "x"), "did you mean --matting best?"),
        (("remove", "--bgcolor", "white"), "did you mean --background?"),
        (("train", "--learning", "1"), "no such option: --learning\nsee: u2cut train --help"),
        (("weights", "lst"), "'list'"),
        (("remove", "--erode", "much"), "--erode"),
        (("remove", "--matting"), "--matting"),
    ],
)
def test_what_is_not_understood_says_what_to_type(
    u2cut: Run, words: tuple[str, ...], said: str
) -> None:
    result = u2cut(*words)
    assert result.code == 2
    assert result.out == b""
    assert result.err.startswith("u2cut: error: ")
    assert said in result.err


def test_a_photo_in_a_commands_place_says_what_to_type(u2cut: Run, disc, monkeypatch) -> None:
    monkeypatch.chdir(disc.parent)
    result = u2cut("disc.png")
    assert result.code == 2
    assert "u2cut remove disc.png" in result.err


@pytest.mark.parametrize("command", ["remove", "mask", "train", "eval", "export", "report"])
def test_help_ends_with_examples(u2cut: Run, command: str) -> None:
    text = u2cut(command, "--help").out.decode()
    assert f"Examples:\n\n  u2cut {'remove' if command == 'report' else command}" in text


def test_no_summary_is_cut_off(u2cut: Run) -> None:
    for words in ((), ("weights",)):
        text = u2cut(*words, "--help").out.decode()
        assert "..." not in text.split("Commands:")[1]


def test_on_a_terminal_the_options_stand_in_panels() -> None:
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "100", "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "u2cut", "remove", "--help"], stdout=theirs, env=environment
    ) as process:
        os.close(theirs)
        read = bytearray()
        while True:
            try:
                chunk = os.read(ours, 1 << 16)
            except OSError:
                break
            if not chunk:
                break
            read += chunk
    os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", read.decode())
    for panel in ("Input", "Output", "Edges", "Network", "Run"):
        assert f"─ {panel} ─" in text
    assert "u2cut remove photo.jpg -o cutout.png" in text
