"""A data set for each test that asks for one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ellipses import write_set


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a set of this name and number of pairs."""

    def make(name: str = "set", count: int = 6) -> Path:
        return write_set(tmp_path / name, count, seed=sum(map(ord, name)))

    return make
