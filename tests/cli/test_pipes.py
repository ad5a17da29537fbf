"""Real processes, pipes and signals."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import EXAMPLES, opened

Start = Callable[..., "subprocess.Popen[bytes]"]
BUNDLED = ("--model", "u2netp", "--size", "96", "--engine", "torch")


def test_photos_go_through_a_pipeline_of_two(u2cut_process: Start) -> None:
    first = u2cut_process("remove", *BUNDLED, "-")
    second = u2cut_process("mask", *BUNDLED, "-", "--alpha", stdin=first.stdout)
    assert first.stdin is not None
    first.stdin.write((EXAMPLES / "cat.jpg").read_bytes())
    first.stdin.close()
    out, err = second.communicate(timeout=120)
    assert second.returncode == first.wait() == 0, err
    mask = opened(out)
    assert mask.shape == (300, 451)
    assert 0.1 < (mask > 127).mean() < 0.95


def test_a_library_that_prints_does_not_spoil_stdout(tmp_path: Path) -> None:
    polluter = tmp_path / "polluted.py"
    polluter.write_text(
        "import os, sys\n"
        "from u2cut.imaging import encode\n"
        "import u2cut.cutout as cut\n"
        "plain = cut.encode\n"
        "def chatty(*a, **k):\n"
        "    print('hello from Python')\n"
        "    os.write(1, b'hello from C')\n"
        "    return plain(*a, **k)\n"
        "cut.encode = chatty\n"
        "from u2cut.cli.app import run\n"
        "sys.exit(run(sys.argv[1:]))\n"
    )
    done = subprocess.run(
        [sys.executable, polluter, "remove", *BUNDLED, "-"],
        input=(EXAMPLES / "cat.jpg").read_bytes(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert opened(done.stdout).shape == (300, 451, 4)
    assert done.stdout.endswith(b"IEND\xaeB`\x82")
    assert b"hello from Python" in done.stderr
    assert b"hello from C" in done.stderr


def test_pictures_are_never_written_to_a_terminal() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "u2cut", "remove", EXAMPLES / "cat.jpg", "-o", "-"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    os.close(ours)
    assert done.returncode == 2
    assert b"terminal" in done.stderr


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_within_two_seconds_and_leaves_no_partial_file(
    tmp_path: Path, u2cut_process: Start, which: signal.Signals
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    for i in range(40):
        Image.fromarray(noise).save(source / f"{i:02}.jpg", quality=50)
    running = u2cut_process("remove", *BUNDLED, source, "-o", out)
    while not (out.is_dir() and any(out.glob("*.png"))):
        assert running.poll() is None, running.stderr
        time.sleep(0.02)
    running.send_signal(which)
    sent = time.monotonic()
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert time.monotonic() - sent < 2
    assert b"Traceback" not in err
    names = sorted(path.name for path in out.iterdir())
    assert 0 < len(names) < 40
    for name in names:
        assert opened(out / name).shape == (1500, 2000, 4)


def test_a_reader_that_goes_away_is_an_output_error(u2cut_process: Start) -> None:
    reader, writer = os.pipe()
    running = u2cut_process("remove", *BUNDLED, EXAMPLES / "cat.jpg", "-o", "-", stdout=writer)
    os.close(writer)
    os.close(reader)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 4
    assert said == b"u2cut: error: stdout: Broken pipe; nobody reads it\n"


@pytest.mark.parametrize("command", [("--help",), ("--version",), ("remove", "--help")])
def test_help_and_version_import_nothing_heavy(command: tuple[str, ...]) -> None:
    assert not loaded_by(*command) & HEAVY


@pytest.mark.parametrize("command", [("remove", "missing/"), ("remove", "a.jpg", "-o", "a.psd")])
def test_planning_errors_come_before_any_heavy_import(command: tuple[str, ...]) -> None:
    assert not loaded_by(*command) & HEAVY


HEAVY = {"numpy", "cv2", "PIL", "torch", "requests", "openvino", "matplotlib", "rich"}


def loaded_by(*command: str) -> set[str]:
    code = (
        "import sys; from u2cut.cli.app import run; run(sys.argv[1:]); "
        "print(*sys.modules, sep='\\n', file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


def test_the_end_leaves_out_no_exit_handler_thread_or_buffer() -> None:
    code = (
        "import atexit, sys, threading, time\n"
        "import u2cut.cli.app\n"
        "from u2cut.__main__ import main\n"
        "def late():\n"
        "    time.sleep(0.2)\n"
        "    sys.stdout.write('thread')\n"
        "def run():\n"
        "    sys.stdout.write('buffer ')\n"
        "    atexit.register(sys.stdout.write, ' handler')\n"
        "    if sys.argv[1] == 'busy': threading.Thread(target=late).start()\n"
        "    return 3\n"
        "u2cut.cli.app.run = run\n"
        "main()\n"
    )
    for state, said in (("busy", b"buffer thread handler"), ("idle", b"buffer  handler")):
        done = subprocess.run(
            [sys.executable, "-c", code, state], capture_output=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (3, said, b"")


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (("u2cut", "re"), ["remove", "report"]),
        (("u2cut", "remove", "--mat"), ["--matting"]),
        (("u2cut", "remove", "--matting", ""), ["none", "fast", "best"]),
        (("u2cut", "remove", "--model", "u2netp"), ["u2netp"]),
        (("u2cut", "remove", "--format", "t"), ["tiff"]),
        (("u2cut", "remove", "--device", "cuda"), ["cuda", "cuda:0", "cuda:all"]),
        (("u2cut", "train", "--init", "u2net_"), ["u2net_human_seg"]),
        (("u2cut", "weights", "path", "a"), ["auto"]),
        (("u2cut", "weights", "ver"), ["verify"]),
        (("u2cut", "remove", "ca"), []),  # left to the shell, which completes files
    ],
)
def test_the_shell_completes_commands_options_and_values(
    typed: tuple[str, ...], completed: list[str]
) -> None:
    environment = {
        "_U2CUT_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(typed),
        "COMP_CWORD": str(len(typed) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "u2cut"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == completed


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_a_shell_is_shown(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "u2cut", "--show-completion", shell],
        env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "_U2CUT_COMPLETE" in done.stdout


def test_the_completion_is_installed_where_the_shell_reads_it(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "u2cut", "--install-completion", "bash"],
        env=os.environ
        | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert "u2cut" in (tmp_path / ".bashrc").read_text()
