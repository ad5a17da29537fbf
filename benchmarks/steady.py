"""Whether a long run of small photos slows down, or its memory grows (Linux only).

    python benchmarks/steady.py [--photos 1000]

Runs ``u2cut remove --json`` and notes when each photo's line comes: photos a second of each
hundred, those of the last against the first, and the process's memory at the same moments. The
first ten photos, while the engine is loaded, do not count.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

_HUNDRED = 100
_WARM_UP = 10


def make_photos(folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:300, :400]
    for i in range(count):
        y, x = rng.uniform(100, 200), rng.uniform(130, 270)
        inside = np.hypot(rows - y, columns - x) < rng.uniform(40, 90)
        colours = rng.integers(0, 256, (2, 3))
        picture = np.where(inside[..., None], *colours) + rng.normal(0, 6, (300, 400, 3))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{i:05}.jpg")


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=1000)
    options, more = parser.parse_known_args()  # more: options of u2cut remove
    with tempfile.TemporaryDirectory() as scratch:
        photos, out = Path(scratch, "photos"), Path(scratch, "out")
        photos.mkdir()
        make_photos(photos, options.photos + _WARM_UP)
        command = [sys.executable, "-m", "u2cut", "remove", str(photos), "-o", f"{out}/"]
        process = subprocess.Popen(
            [*command, "--json", "--quiet", *more], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        times, memory = [], []
        for i, _ in enumerate(process.stdout):
            times.append(time.perf_counter())
            if i >= _WARM_UP and (i - _WARM_UP) % _HUNDRED == 0:
                memory.append(resident_mb(process.pid))
        if process.wait():
            sys.exit("u2cut failed")
    marks = times[_WARM_UP - 1 :: _HUNDRED]
    rates = _HUNDRED / np.diff(marks)
    print("photos a second of each hundred:", " ".join(f"{r:.1f}" for r in rates))
    print("MB at the start of each hundred:", " ".join(f"{m:.0f}" for m in memory))
    print(f"last hundred against the first: {rates[-1] / rates[0]:.2f} x", end=", ")
    print(f"memory {memory[-1] / memory[0]:.2f} x")


if __name__ == "__main__":
    main()
