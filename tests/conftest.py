"""What all tests share: a home of their own, one thread a process, photos, u2cut itself."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fork_server import ForkServer
from tests.pictures import EXAMPLES, Outcome, disc_photo

# Small networks gain nothing from more threads, and a busy machine crawls under them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts background jobs with Ctrl-C ignored, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where rembg and backgroundremover keep their networks.
OTHER_TOOLS = ("U2NET_HOME", "REMBG_HOME", "XDG_DATA_HOME", "U2NET_PATH", "U2NETP_PATH")


@pytest.fixture(autouse=True)
def _log_as_imported() -> None:
    """Take back what a command run in process, perhaps by a module's fixture, did to the log."""
    logger = logging.getLogger("u2cut")
    logger.handlers[:], logger.level, logger.propagate = [], logging.NOTSET, True


@pytest.fixture(scope="session")
def _user_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture(autouse=True)
def _own_home(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, _user_home: Path
) -> None:
    """Keep tests away from the user's cache and settings, and from the package index."""
    monkeypatch.setenv("U2CUT_HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("HOME", str(_user_home))
    for name in ("U2CUT_MODEL", "U2CUT_OFFLINE", "U2CUT_MIRROR", *OTHER_TOOLS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A small JPEG of a cat."""
    path = tmp_path / "cat.jpg"
    path.write_bytes((EXAMPLES / "cat.jpg").read_bytes())
    return path


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    """A small PNG of a disc."""
    path = tmp_path / "disc.png"
    Image.fromarray(disc_photo()).save(path)
    return path


@pytest.fixture
def u2cut(capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Outcome]:
    """Run the command line in this process, with the bundled weights at a small size."""
    from u2cut.cli.app import run

    def call(*arguments: object) -> Outcome:
        words = [os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments]
        if words and words[0] in ("remove", "mask"):
            words[1:1] = ["--size", "96", "--engine", "torch"]
            if "--weights" not in words:
                words[1:1] = ["--model", "u2netp"]
        capfdbinary.readouterr()
        code = run(words)
        captured = capfdbinary.readouterr()
        return Outcome(code, captured.out, captured.err.decode())

    return call


@pytest.fixture
def u2cut_process() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start the command line in a process of its own."""
    with ExitStack() as started:

        def start(*arguments: object, **options: object) -> "subprocess.Popen[bytes]":
            words = [os.fspath(a) if isinstance(a, Path) else str(a) for a in arguments]
            pipes = {name: subprocess.PIPE for name in ("stdin", "stdout", "stderr")}
            return started.enter_context(
                subprocess.Popen([sys.executable, "-m", "u2cut", *words], **(pipes | options))
            )

        yield start


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Start the command line in processes of its own, cheaply."""
    with ForkServer(tmp_path_factory.mktemp("streams")) as started:
        yield started


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small photos whose results are large, 200 kB each."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for i in range(12):
        pixels = rng.integers(0, 256, (200, 300, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.jpg", quality=70)
    return folder
