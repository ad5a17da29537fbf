"""What a run says when the machine lacks something; nothing here only pretends to lack it."""

import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from u2cut.errors import DataError
from u2cut.training.config import TrainConfig
from u2cut.training.limits import explain_memory

ENDLESS = 1 << 50  # numbers
ALLOCATIONS = {
    "torch": lambda: torch.zeros(ENDLESS),
    "numpy": lambda: np.zeros(ENDLESS),
    "cv2": lambda: cv2.resize(np.zeros((8, 8)), (1 << 25, 1 << 25)),
    "cuda": lambda: torch.zeros(ENDLESS, device="cuda"),
}


@pytest.mark.parametrize(
    "kind", ["torch", "numpy", "cv2", pytest.param("cuda", marks=pytest.mark.gpu)]
)
def test_memory_that_runs_out_is_an_error_with_options_that_help(kind):
    config = TrainConfig(batch_size=12, accumulate=2)
    said = "--batch-size 6 --accumulate 4"
    with pytest.raises(DataError, match=said), explain_memory(config, 1):
        ALLOCATIONS[kind]()


@pytest.mark.parametrize(
    ("batch", "accumulate", "world"), [(2, 1, 1), (3, 1, 1), (12, 2, 4), (20, 1, 4), (8, 3, 4)]
)
def test_the_options_named_make_steps_over_as_many_photos(batch, accumulate, world):
    config = TrainConfig(batch_size=batch, accumulate=accumulate)
    with pytest.raises(DataError) as raised, explain_memory(config, world):
        raise MemoryError
    named = re.search(r"--batch-size (\d+) --accumulate (\d+)", str(raised.value))
    smaller, more = map(int, named.groups())
    assert smaller < batch
    assert smaller % world == 0
    assert batch * accumulate <= smaller * more < batch * accumulate + smaller


def test_where_no_batch_is_smaller_smaller_photos_are_advised():
    with pytest.raises(DataError, match="--crop"), explain_memory(TrainConfig(batch_size=4), 4):
        raise MemoryError


def test_another_error_stays_what_it_is():
    with pytest.raises(RuntimeError, match="shape"), explain_memory(TrainConfig(), 1):
        torch.zeros(2).reshape(3, 3)


# What ``python -m u2cut`` does, in little more memory than it has at its start.
SHORT_OF_MEMORY = """
import resource, sys
from pathlib import Path
import u2cut.training.loop
from u2cut.cli.app import run
room = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (700 << 20)
resource.setrlimit(resource.RLIMIT_AS, (room, room))
sys.exit(run(sys.argv[1:]))
"""


def train(*command: object, **environment: str) -> tuple[int, str]:
    """Run u2cut train in a process of its own; return its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def test_a_batch_too_large_for_the_memory_ends_the_run_with_the_remedy(tmp_path, make_set):
    arguments = ["train", "--data", make_set(), "--out", tmp_path / "run", "--model=u2netp"]
    arguments += ["--batch-size=8", "--steps=1", "--crop=0", "--workers=0"]
    code, said = train("-c", SHORT_OF_MEMORY, *arguments)
    assert (code, said) == (
        7,
        "u2cut: error: out of memory with 8 photos of 320 pixels; "
        "try --batch-size 4 --accumulate 2\n",
    )


@pytest.mark.slow
def test_without_a_compiler_nothing_is_begun(tmp_path, make_set):
    out = tmp_path / "run"
    nowhere, cache = tmp_path / "no-compilers", tmp_path / "nothing-compiled"
    code, said = train(
        *("-m", "u2cut", "train", "--data", make_set(), "--out", out, "--compile"),
        CXX=str(nowhere),
        TORCHINDUCTOR_CACHE_DIR=str(cache),
    )
    assert code == 6
    assert "No working C++ compiler" in said
    assert "apt install g++" in said
    assert "leave out --compile" in said
    assert "Traceback" not in said
    assert not out.exists()
