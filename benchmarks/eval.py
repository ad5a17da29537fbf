"""Seconds that eval takes for 1,000 maps of 400×300 in files, beside pysodmetrics.

pysodmetrics scores fewer metrics (no boundary Fβ, no IoU) on every tenth map, without reading
files; its seconds are multiplied by ten.

    python benchmarks/eval.py [COUNT]
"""

import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import py_sod_metrics

SHAPE = (300, 400)


def make(root: Path, count: int) -> None:
    """Write photos, masks and maps; a set's photos aren't opened, so they are all one pixel."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "maps"):
        (root / folder).mkdir()
    for i in range(count):
        field = cv2.GaussianBlur(rng.standard_normal(SHAPE).astype(np.float32), (0, 0), 30)
        truth = np.where(field > np.quantile(field, 0.75), 255, 0).astype(np.uint8)
        noise = cv2.GaussianBlur(rng.standard_normal(SHAPE).astype(np.float32), (0, 0), 8)
        saliency = cv2.GaussianBlur(truth, (0, 0), 4) + 400 * noise
        cv2.imwrite(str(root / f"masks/{i}.png"), truth)
        cv2.imwrite(str(root / f"maps/{i}.png"), np.clip(saliency, 0, 255).astype(np.uint8))
        cv2.imwrite(str(root / f"images/{i}.png"), np.zeros((1, 1), np.uint8))


def ours(root: Path) -> float:
    """Return the seconds of the whole command, its start included."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "u2cut", "eval", "--data", str(root), "--quiet"]
    subprocess.run([*command, "--pred", str(root / "maps")], check=True)
    return time.perf_counter() - start


def theirs(root: Path) -> float:
    """Return the seconds of pysodmetrics on every tenth map, times ten."""
    metrics = [
        py_sod_metrics.Fmeasure(),
        py_sod_metrics.MAE(),
        py_sod_metrics.Smeasure(),
        py_sod_metrics.Emeasure(),
        py_sod_metrics.WeightedFmeasure(),
    ]
    seconds = 0.0
    for path in sorted((root / "maps").iterdir())[::10]:
        saliency, truth = (cv2.imread(str(p), 0) for p in (path, root / "masks" / path.name))
        start = time.perf_counter()
        for metric in metrics:
            metric.step(saliency, truth)
        seconds += time.perf_counter() - start
    return 10 * seconds


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "blobs"
        root.mkdir()
        make(root, count)
        seconds = ours(root)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        other = theirs(root)
    print(f"u2cut eval:    {seconds:6.1f} s for {count} maps, at most {peak:.0f} MB")
    print(f"pysodmetrics:  {other:6.1f} s, {other / seconds:.1f} times as long")


if __name__ == "__main__":
    main()
