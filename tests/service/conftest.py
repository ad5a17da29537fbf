"""A server of its own for the tests, as a process."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

NETWORK = ["--model", "u2netp", "--offline", "--size", "96", "--engine", "torch"]


class Server:
    """A running ``u2cut serve``."""

    def __init__(self, folder: Path, *words: object) -> None:
        self.log = folder / f"serve-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "u2cut", "serve", "--port", "0", *NETWORK]
        with self.log.open("w") as log:
            self.process = subprocess.Popen([*command, *map(str, words)], stderr=log, stdout=log)
        deadline = time.monotonic() + 60
        found = None
        while found is None:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
            found = re.search(r"http://[^:]+:(\d+)", self.said)
        self.port = int(found[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self.http = requests.Session()
        self.http.trust_env = False
        while True:
            try:
                if self.http.get(f"{self.address}/readyz", timeout=5).ok:
                    return
            except requests.ConnectionError:
                time.sleep(0.05)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def post(self, path: str, **more: object) -> requests.Response:
        return self.http.post(f"{self.address}{path}", timeout=60, **more)

    def get(self, path: str, **more: object) -> requests.Response:
        return self.http.get(f"{self.address}{path}", timeout=60, **more)

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} ([\d.e+-]+)$", self.get("/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """Start servers; all of them end with the tests."""
    started: list[Server] = []

    def start(*words: object) -> Server:
        started.append(Server(tmp_path_factory.mktemp("serve"), *words))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


@pytest.fixture(scope="session")
def server(serving: Callable[..., Server]) -> Server:
    """One for all tests that don't end it."""
    return serving("--compat", "removebg", "--compat", "rembg", "--max-body", "2M")
