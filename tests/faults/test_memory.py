"""Memory: flat over any number of photos, and too little of it costs one photo."""

import gc
import os
import statistics
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fork_server import ForkServer
from u2cut.batch.plan import plan
from u2cut.batch.result import Result
from u2cut.batch.run import run
from u2cut.options import (
    BatchOptions,
    InputOptions,
    NetworkOptions,
    OutputOptions,
    RenderOptions,
    RunOptions,
)

MEGABYTE = 1 << 20


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth(folder: Path, count: int, engine: str) -> float:
    """Cut out many small photos of many sizes; bytes that the last fifth has more than the second.

    The first fifth fills caches and memory pools.
    """
    photos, out = folder / "photos", folder / "out"
    photos.mkdir()
    rng = np.random.default_rng(5)
    for i in range(40):
        height, width = rng.integers(20, 90, 2)
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{i}.png")
    linked = folder / "linked"
    linked.mkdir()
    for i in range(count):
        (linked / f"{i:05}.png").symlink_to(photos / f"{i % 40}.png")

    samples: list[int] = []

    def sample(result: Result) -> None:
        assert result.status == "ok"
        if len(samples) % 50 == 0:
            gc.collect()
        samples.append(resident())

    options = BatchOptions(
        (str(linked),),
        InputOptions(),
        OutputOptions(output=f"{out}/"),
        RenderOptions(),
        NetworkOptions(model="u2netp", size=32, engine=engine),
        RunOptions(jobs=2, quiet=True),
    )
    with plan(options.inputs, options.input, options.output, label="cutout") as jobs:
        run(jobs, options, report=sample)
    fifth = count // 5
    return statistics.median(samples[-fifth:]) - statistics.median(samples[fifth : 2 * fifth])


def test_hundreds_of_photos_leave_nothing_in_memory(tmp_path: Path) -> None:
    assert growth(tmp_path, 250, "torch") < 6 * MEGABYTE, "24 kB for each photo"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_thousands_of_photos_leave_nothing_in_memory(tmp_path: Path, engine: str) -> None:
    pytest.importorskip(engine)
    assert growth(tmp_path, 5000, engine) < 12 * MEGABYTE, "2.4 kB for each photo"


def test_a_photo_too_large_for_the_memory_costs_nobody_else(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    large, out = tmp_path / "large.png", tmp_path / "out"
    Image.new("1", (17_000, 17_000)).save(large)
    room = fork_server.address_space + 700 * MEGABYTE
    command = ("remove", large, noise / "00.jpg", "--model", "u2netp", "--size", 64, "--jobs", 1)
    assert fork_server.run(*command, "--engine", "torch", "-o", out, RLIMIT_AS=room) == 8
    assert "large.png" in fork_server.stderr
    assert "memory" in fork_server.stderr
    assert "Traceback" not in fork_server.stderr
    assert [path.name for path in out.iterdir()] == ["00.png"]
