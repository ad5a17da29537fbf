import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from u2cut import console
from u2cut.errors import ExitCode, printable

FULL = "stdout: No space left on device; make room, or choose another disk with -o\n"


def test_stdout_is_the_callers_alone(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with console.protect_stdout() as stdout:
        sys.stdout.write("a library\n")
        os.write(1, b"a C library")
        stdout.write(b"picture")
    sys.stdout.write("after\n")
    captured = capfdbinary.readouterr()
    assert captured.out == b"pictureafter\n"
    assert b"a library" in captured.err
    assert b"a C library" in captured.err


def test_a_stdout_that_takes_little_at_once_gets_every_byte() -> None:
    data = os.urandom(300_000)
    code = (
        "import os, sys; from u2cut import console; data = sys.stdin.buffer.read()\n"
        "os.set_blocking(1, False)\n"
        "with console.protect_stdout() as out: print(out.write(data), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout == data
    assert done.stderr == b"300000\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's own")
def test_a_stdout_that_is_full_is_told_from_one_that_nobody_reads() -> None:
    code = "from u2cut import console\nwith console.protect_stdout() as out: out.write(b'x')"
    command = [sys.executable, "-c", code]
    with Path("/dev/full").open("wb") as full:
        said = subprocess.run(command, stdout=full, stderr=subprocess.PIPE).stderr
    assert said.endswith(FULL.encode())
    reader, writer = os.pipe()
    os.close(reader)
    said = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE).stderr
    os.close(writer)
    assert said.endswith(b"OutputError: stdout: Broken pipe; nobody reads it\n")


@pytest.mark.parametrize(
    ("options", "levels"),
    [({}, "we"), ({"quiet": True}, "e"), ({"verbose": True}, "iwe")],
)
def test_quiet_and_verbose_choose_what_is_said(
    options: dict[str, bool], levels: str, capsys: pytest.CaptureFixture[str]
) -> None:
    console.configure_logging(**options)
    console.logger.info("i")
    console.logger.warning("w")
    console.logger.error("e")
    lines = capsys.readouterr().err.splitlines()
    assert [line[-1] for line in lines] == list(levels)
    assert lines[-1] == "u2cut: error: e"


@given(st.text())
def test_printable_text_can_neither_forge_a_line_nor_drive_a_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    if text.isprintable():
        assert shown == text


def test_a_name_that_is_no_utf8_can_be_shown() -> None:
    printable(os.fsdecode(b"\xff.jpg")).encode()


def test_a_progress_bar_shows_on_a_terminal_only(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress(3, unit="photo") as bar:
        bar.update()
        bar.show("x")
    assert capsys.readouterr().err == ""


def test_a_closed_stderr_costs_nothing() -> None:
    code = (
        "import os; from u2cut import console; console.configure_logging(); os.close(2); "
        "console.logger.error('x'); print('on')"
    )
    # Unbuffered: what is left in a buffer would fail once more when Python ends.
    command = [sys.executable, "-u", "-c", code]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout == b"on\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's own")
def test_help_that_finds_no_room_says_so() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "u2cut", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == ExitCode.OUTPUT
    assert done.stderr == f"u2cut: error: {FULL}"
