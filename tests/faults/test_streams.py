"""Signals, terminals that go away or pause, and streams that are closed."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fork_server import ForkServer

BUNDLED = ("--model", "u2netp", "--size", "64", "--engine", "torch")
Start = Callable[..., "subprocess.Popen[bytes]"]


def wait_for_a_result(out: Path) -> None:
    end = time.monotonic() + 250
    while not (out.is_dir() and any(out.glob("*.png"))):
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_stops_with_130_and_leaves_whole_results(
    fork_server: ForkServer, noise: Path, tmp_path: Path, name: str
) -> None:
    out, never = tmp_path / "out", tmp_path / "never.jpg"
    os.mkfifo(never)  # so that the run isn't over before the signal comes
    fork_server.start("remove", noise, never, *BUNDLED, "-o", out, "--jobs", 1)
    wait_for_a_result(out)
    fork_server.kill(signal.Signals[name])
    assert fork_server.wait() == 130
    assert "finished photos are kept" in fork_server.stderr
    assert "Traceback" not in fork_server.stderr
    assert all(path.suffix == ".png" for path in out.iterdir())


def test_under_nohup_a_terminal_that_goes_away_stops_nothing(
    u2cut_process: Start, disc: Path, tmp_path: Path
) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    pipe = tmp_path / "a.png"
    os.mkfifo(pipe)
    out = tmp_path / "out.png"
    running = u2cut_process("remove", pipe, *BUNDLED, "-o", out, preexec_fn=ignore)
    with pipe.open("wb") as writer:  # opens when u2cut has begun to read
        running.send_signal(signal.SIGHUP)
        writer.write(disc.read_bytes())
    assert running.wait(120) == 0, running.stderr
    assert out.exists()


def test_the_second_ctrl_c_stops_at_once() -> None:
    code = (
        "import signal, time\n"
        "from u2cut.cli.app import _Interruption\n"
        "_Interruption()\n"
        "try:\n"
        "    print(flush=True)\n"
        "    time.sleep(60)\n"
        "finally:\n"
        "    print(flush=True)\n"
        "    time.sleep(60)  # a clean-up that hangs\n"
    )
    running = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    with running:
        assert running.stdout is not None
        for _ in range(2):
            running.stdout.readline()
            running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130


def test_a_reader_of_json_that_goes_away_stops_the_run_with_a_word(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ForkServer(tmp_path, stdout=pipe) as other:
        other.start("remove", noise, *BUNDLED, "-o", tmp_path / "out", "--json", "--jobs", 1)
        with pipe.open("rb", buffering=0) as head:
            assert json.loads(head.readline())["status"] == "ok"
        assert other.wait() == 4
        assert "stdout: Broken pipe" in other.stderr
        assert "Traceback" not in other.stderr


def closed(redirection: str, *words: object) -> "subprocess.CompletedProcess[bytes]":
    """Run u2cut with a stream closed, as a shell does for ``>&-``."""
    command = f'exec "$@" {redirection}'
    line = ["sh", "-c", command, "sh", sys.executable, "-m", "u2cut", *map(str, words)]
    return subprocess.run(line, capture_output=True, timeout=120, check=False)


def test_data_for_a_closed_stdout_is_an_output_error() -> None:
    done = closed(">&-", "weights", "list")
    assert done.returncode == 4
    assert b"stdout: Bad file descriptor" in done.stderr


def test_a_closed_stdin_is_an_input_error(tmp_path: Path) -> None:
    done = closed("<&-", "remove", "--from-file", "-", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert b"stdin is closed" in done.stderr


def test_with_all_streams_closed_the_work_is_done(disc: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = closed("<&- >&- 2>&-", "remove", disc, tmp_path / "missing.jpg", *BUNDLED, "-o", out)
    assert done.returncode == 8
    assert (out / "disc.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_suspended_draws_its_progress_whole_again(
    noise: Path, tmp_path: Path
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    shown = b""
    with ForkServer(tmp_path, stderr=Path(os.ttyname(theirs))) as other:
        other.start("remove", noise, *BUNDLED, "-o", tmp_path / "out", "--jobs", 1)
        wait_for_a_result(tmp_path / "out")
        other.kill(signal.SIGSTOP)  # what a shell's Ctrl-Z amounts to
        time.sleep(0.3)
        while select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 1 << 16)
        before = len(shown)
        other.kill(signal.SIGCONT)
        assert other.wait() == 0
        while select.select([ours], [], [], 0.1)[0]:
            shown += os.read(ours, 1 << 16)
    os.close(ours)
    os.close(theirs)
    after = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown[before:].decode())
    lines = [line for line in re.split(r"[\r\n]+", after) if line.strip()]
    assert lines, "the bar is drawn again"
    for line in lines:
        assert line.startswith("u2cut: ") or re.fullmatch(
            r" [━╸╺ ]+ +\d+/12 +([\d.e+]+ photos/s )? *[\d:]+ [-\d:]+ *", line
        ), line
    *_, bar, end = lines
    assert "12/12" in bar
    assert end.startswith("u2cut: 12 ok in ")
