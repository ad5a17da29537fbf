"""An object store for a test, and the command as a process that knows where it is."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.remote import s3

Command = Callable[..., "subprocess.CompletedProcess[bytes]"]


def environment(address: str) -> dict[str, str]:
    """Return the environment of a process that uses the store at an address."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    return kept | {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
    }


@pytest.fixture
def shop() -> Iterator[tuple[s3.Store, str]]:
    with s3.serving() as (store, address):
        yield store, address


@pytest.fixture
def store(shop: tuple[s3.Store, str]) -> s3.Store:
    return shop[0]


@pytest.fixture
def u2cut(shop: tuple[s3.Store, str], tmp_path: Path) -> Command:
    """Run the command: small network input, so that it is fast."""

    def run(*words: object, **more: object) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-m", "u2cut", *map(str, words)]
        if words[0] in ("remove", "mask") and "--dry-run" not in words:
            command += ["--model", "u2netp", "--offline", "--size", "64", "--engine", "torch"]
        return subprocess.run(
            command, env=environment(shop[1]), cwd=tmp_path, capture_output=True, timeout=120,
            **more,
        )  # fmt: skip

    return run
