"""Cutouts of whole commands beside other tools', with the same weights: how good, how fast.

    python benchmarks/matting.py FOLDER --cutouts DIR --backgrounds DIR --half judge --write DATA
    python benchmarks/peers.py DATA --model u2net --rembg REMBG --backgroundremover COMMAND

DATA holds images/ and masks/, which are true alphas. Each tool cuts out all of the photos by its
own command for folders, from a cold start; SAD in thousands, the mean over the photos. rembg and
backgroundremover stand in environments of their own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file

from u2cut.evaluation.matte import matte_scores
from u2cut.weights import find

U2CUT = [sys.executable, "-m", "u2cut"]


def commands(args: argparse.Namespace, images: str) -> dict[str, list[str]]:
    """What each tool is told; OUT stands for the folder of its results."""
    found = {}
    for method in ("none", "fast", "best"):
        found[f"u2cut, {method}"] = [
            *U2CUT, "remove", images, "-o", "OUT/", "-q",
            "--model", args.model, "--matting", method,
        ]  # fmt: skip
    if args.rembg:
        found["rembg"] = [args.rembg, "p", "-m", args.model, images, "OUT"]
        found["rembg -a"] = [args.rembg, "p", "-m", args.model, "-a", images, "OUT"]
    if args.backgroundremover:
        plain = [args.backgroundremover, "-if", images, "-of", "OUT", "-m", args.model]
        found["backgroundremover"] = plain
        found["backgroundremover -a"] = [*plain, "-a"]
    return found


def environment(model: str, scratch: Path) -> dict[str, str]:
    """Give the others these very weights, in the form that each of them reads."""
    weights = find(model).path
    state, onnx = scratch / f"{model}.pth", scratch / f"{model}.onnx"
    torch.save(load_file(weights), state)
    subprocess.run(
        [*U2CUT, "export", "--weights", str(weights), "-o", str(onnx), "-q"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return os.environ | {
        "U2NET_HOME": str(scratch),
        "MODEL_CHECKSUM_DISABLED": "1",
        "U2NET_PATH": str(state),
        "U2NETP_PATH": str(state),
    }


def score(results: Path, masks: Path) -> list[float]:
    """Mean SAD, MSE·10³, Gradient, Connectivity and IoU of a folder of cutouts."""
    by_stem = {path.stem.removeprefix("output_"): path for path in results.iterdir()}
    rows = []
    for path in sorted(masks.iterdir()):
        truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        alpha = cv2.imread(str(by_stem[path.stem]), cv2.IMREAD_UNCHANGED)[..., 3]
        s = matte_scores(alpha, truth)
        one, two = alpha > 127, truth > 127
        iou = np.count_nonzero(one & two) / max(1, np.count_nonzero(one | two))
        rows.append([s.sad, s.mse * 1000, s.gradient, s.connectivity, iou])
    return [float(value) for value in np.mean(rows, axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="u2net")
    parser.add_argument("--rembg")
    parser.add_argument("--backgroundremover")
    args = parser.parse_args()
    print("| | SAD | MSE·10³ | Gradient | Connectivity | IoU | seconds |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        around = environment(args.model, Path(scratch))
        for name, command in commands(args, str(args.data / "images")).items():
            out = Path(scratch) / name
            out.mkdir()
            words = [word.replace("OUT", str(out)) for word in command]
            start = time.perf_counter()
            done = subprocess.run(words, env=around, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - start
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
            sad, mse, gradient, connectivity, iou = score(out, args.data / "masks")
            print(
                f"| {name} | {sad:.2f} | {mse:.2f} | {gradient:.2f} | {connectivity:.2f} | "
                f"{iou:.4f} | {seconds:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
