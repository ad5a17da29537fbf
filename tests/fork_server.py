"""Real processes for the price of a fork: u2cut's imports are paid for once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

_SCRIPT = """
import json, os, resource, signal, sys
import cv2, PIL.Image, torch
import u2cut.engines.torch_engine, u2cut.batch.journal, u2cut.batch.run
from u2cut.cli.app import run
PIL.Image.preinit()
for ignored in (signal.SIGHUP, signal.SIGINT):  # by nohup, or in the background of a script
    signal.signal(ignored, signal.SIG_DFL)
for line in sys.stdin:
    words, out, err, limits = json.loads(line)
    child = os.fork()
    if child == 0:
        for name, value in limits.items():
            resource.setrlimit(getattr(resource, name), (value, value))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOCTTY
        for path, number in ((out, 1), (err, 2)):
            os.dup2(os.open(path, flags, 0o600), number)
        os._exit(run(words))
    print(child, flush=True)
    sys.stdin.readline()  # until then, its number stays its own
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class ForkServer:
    """Starts u2cut again and again, one process at a time.

    Args:
        folder: Where the streams of the processes go.
        stdout: Where stdout goes instead, such as to a named pipe.
        stderr: Where stderr goes instead, such as to a terminal.
    """

    def __init__(
        self, folder: Path, *, stdout: Path | None = None, stderr: Path | None = None
    ) -> None:
        self._files = stdout or folder / "stdout", stderr or folder / "stderr"
        self._mother = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self._child = 0

    def start(self, *words: object, **limits: int) -> None:
        """Start a process, with limits on its resources: ``RLIMIT_FSIZE=1000``."""
        line = json.dumps([[str(word) for word in words], *map(str, self._files), limits])
        self._child = int(self._answer(line))

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process that was started; it may have ended."""
        os.kill(self._child, number)

    def run(self, *words: object, **limits: int) -> int:
        """Start a process, and wait for it."""
        self.start(*words, **limits)
        return self.wait()

    def wait(self) -> int:
        """Return its exit code, or the negative number of the signal that ended it."""
        return int(self._answer("wait"))

    @property
    def address_space(self) -> int:
        """Bytes of address space that a process has at its start."""
        pages = int(Path(f"/proc/{self._mother.pid}/statm").read_text().split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def stdout(self) -> str:
        """What the last process wrote."""
        return self._files[0].read_text()

    @property
    def stderr(self) -> str:
        """What the last process said."""
        return self._files[1].read_text()

    def _answer(self, line: str) -> str:
        assert self._mother.stdin is not None
        assert self._mother.stdout is not None
        self._mother.stdin.write(line + "\n")
        self._mother.stdin.flush()
        return self._mother.stdout.readline()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with self._mother:
            assert self._mother.stdin is not None
            self._mother.stdin.close()
