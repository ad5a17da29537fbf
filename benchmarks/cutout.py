"""Whole commands beside rembg, with the same weights, in one run: medians and ratios.

    python -m venv rembg && rembg/bin/pip install 'rembg[cpu,cli]'
    python benchmarks/cutout.py --rembg rembg/bin/rembg [--situation one-openvino ...]

The weights (u2net's must be there: `u2cut weights download u2net`) are exported to ONNX for rembg,
so both run the same network. What follows it takes its time on what was found, on both sides. The
commands are run in turn (A B A B ...), each as a process of its own, on a disk that is warm.
"""

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

U2CUT = [sys.executable, "-m", "u2cut"]


@dataclass(frozen=True)
class Situation:
    """A command of ours, one of rembg's, and the ratio that was asked for."""

    network: str
    ours: Callable[["Stage"], list[str]]
    theirs: Callable[["Stage"], list[str]]
    wanted: float


@dataclass(frozen=True)
class Stage:
    """Files and folders that the commands work on."""

    root: Path
    weights: Path

    @property
    def photo(self) -> Path:
        return self.root / "photo.jpg"

    @property
    def folder(self) -> Path:
        return self.root / "folder"

    def out(self, name: str) -> str:
        return str(self.root / name)


# What rembg does without -a: no edge refinement, no clean colours.
PLAIN = ("--matting", "none", "--no-decontaminate")


def one(engine: str, *options: str) -> Callable[[Stage], list[str]]:
    return lambda s: [
        *U2CUT, "remove", str(s.photo), "-o", s.out("ours.png"), "--overwrite", "-q",
        "--weights", str(s.weights), "--size", "320", "--engine", engine, *options,
    ]  # fmt: skip


def folder(*options: str) -> Callable[[Stage], list[str]]:
    return lambda s: [
        *U2CUT, "remove", str(s.folder), "-o", s.out("ours/"), "--overwrite", "-q",
        "--weights", str(s.weights), "--size", "320", *options,
    ]  # fmt: skip


def rembg_one(*options: str) -> Callable[[Stage], list[str]]:
    return lambda s: ["i", "-m", s.weights.stem, *options, str(s.photo), s.out("theirs.png")]


def rembg_folder(*options: str) -> Callable[[Stage], list[str]]:
    return lambda s: ["p", "-m", s.weights.stem, *options, str(s.folder), s.out("theirs/")]


SITUATIONS = {
    "one-openvino": Situation("u2netp", one("openvino", *PLAIN), rembg_one(), 4.0),
    "one-torch": Situation("u2netp", one("torch", *PLAIN), rembg_one(), 2.2),
    "one-default": Situation("u2netp", one("openvino"), rembg_one(), 3.0),
    "one-best": Situation("u2netp", one("openvino", "--matting", "best"), rembg_one(), 1.3),
    "one-default-a": Situation("u2netp", one("openvino"), rembg_one("-a"), 50.0),
    "folder": Situation("u2net", folder("--engine", "openvino", *PLAIN), rembg_folder(), 2.5),
    "folder-int8": Situation(
        "u2net", folder("--engine", "openvino", "--precision", "int8", *PLAIN), rembg_folder(), 4.0
    ),
    "folder-mattes": Situation(
        "u2netp", folder("--engine", "openvino", "--matting", "fast"), rembg_folder("-a"), 10.0
    ),
}


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Run a command; return wall seconds and peak memory in MB."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{errors.decode()}")
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return seconds, usage.ru_maxrss / unit


def preprocess(stage: Stage, network: str, photos: int) -> None:
    """Write the weights, their ONNX, a photo of 12 megapixels and a folder of 6.

    Run in a process of its own: a child's peak memory is at least that of its parent at the fork.
    """
    import numpy as np
    from PIL import Image

    from u2cut.batch.bench import example_photo
    from u2cut.weights import find

    shutil.copyfile(find(network).path, stage.weights)
    onnx = stage.weights.with_suffix(".onnx")
    export = [*U2CUT, "export", "--weights", stage.weights, "-o", onnx, "-q"]
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL)
    stage.photo.write_bytes(example_photo(12))
    stage.folder.mkdir()
    rng = np.random.default_rng(0)
    with Image.open(stage.photo) as image:
        six = np.asarray(image.resize((2828, 2121)))
    for i in range(photos):
        # Shifted, so that no cache of any kind helps.
        moved = np.roll(six, rng.integers(0, 300, 2), axis=(0, 1))
        Image.fromarray(moved).save(stage.folder / f"{i:02}.jpg", quality=90)


def compare(name: str, rembg: str, runs: int, photos: int) -> None:
    """Measure one situation and print its row."""
    situation = SITUATIONS[name]
    with tempfile.TemporaryDirectory() as scratch:
        stage = Stage(Path(scratch), Path(scratch) / f"{situation.network}.safetensors")
        preparing = multiprocessing.get_context("spawn").Process(
            target=preprocess, args=(stage, situation.network, photos)
        )
        preparing.start()
        preparing.join()
        environment = os.environ | {
            "U2NET_HOME": scratch,
            "MODEL_CHECKSUM_DISABLED": "1",
            "U2CUT_HOME": str(Path(scratch) / "home"),
        }
        ours, theirs = situation.ours(stage), [rembg, *situation.theirs(stage)]
        if "int8" in ours:
            photo = next(stage.folder.iterdir())
            calibrate = ["calibrate", str(photo), "--weights", str(stage.weights), "--size", "320"]
            subprocess.run([*U2CUT, *calibrate], env=environment, check=True)
        timed(ours, environment)  # compiles once, warms the disk
        pairs = []
        for _ in range(runs):
            for leftover in ("ours", "theirs"):
                shutil.rmtree(stage.out(leftover), ignore_errors=True)
            pairs.append((timed(ours, environment), timed(theirs, environment)))
    mine, other = median(a[0] for a, _ in pairs), median(b[0] for _, b in pairs)
    ratio = median(b[0] / a[0] for a, b in pairs)
    memory = median(a[1] / b[1] for a, b in pairs)
    print(
        f"| {name} | {mine:.2f} s | {other:.2f} s | {ratio:.1f} × | {situation.wanted} × "
        f"| {memory:.2f} × |",
        flush=True,
    )


def main() -> None:
    """Compare and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rembg", required=True, help="rembg's executable")
    parser.add_argument("--situation", action="append", choices=SITUATIONS)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--photos", type=int, default=40, help="in the folder")
    arguments = parser.parse_args()
    print("| situation | u2cut | rembg | ratio | wanted | memory |\n|---|---|---|---|---|---|")
    for name in arguments.situation or SITUATIONS:
        compare(name, arguments.rembg, arguments.runs, arguments.photos)


if __name__ == "__main__":
    main()
