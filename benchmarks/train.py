"""Images per second of ``u2cut train`` beside the published training loop.

python benchmarks/train.py [--data DIR] [--batch-size 8] [--size 160] [--steps 6] [--rounds 2]

The published loop (xuebinqin/U-2-Net, u2net_train.py): fp32, contiguous tensors, each photo
decoded and resized again whenever it is drawn, in one worker process; the sum of seven binary
cross-entropies on probabilities; Adam. It decodes with OpenCV here, which is faster than its own
scikit-image. ``u2cut train`` runs in bf16, channels-last, with photos decoded once. Same network,
batch and input size; the two take turns.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from u2cut.datasets.pairs import Pair, find_pairs
from u2cut.model import VARIANTS, U2Net
from u2cut.saliency import MEAN, STD


class PublishedData(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Decode, resize, crop, normalise: all of it for every sample."""

    def __init__(self, pairs: list[Pair], length: int, size: int) -> None:
        self.pairs, self.length, self.size = pairs, length, size

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        pair, whole = self.pairs[index % len(self.pairs)], round(self.size / 0.9)
        image = cv2.imread(str(pair.image))[:, :, ::-1]
        mask = cv2.imread(str(pair.mask), cv2.IMREAD_GRAYSCALE)
        image = cv2.resize(image, (whole, whole))
        mask = cv2.resize(mask, (whole, whole))
        top, left = np.random.randint(0, whole - self.size + 1, 2)
        image = image[top : top + self.size, left : left + self.size].astype(np.float32)
        mask = mask[top : top + self.size, left : left + self.size].astype(np.float32)
        image = (image / max(image.max(), 1) - MEAN) / STD
        return (
            torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))),
            torch.from_numpy(mask[None] / 255),
        )


def time_published(pairs: list[Pair], model: str, batch: int, size: int, steps: int) -> float:
    """Return images per second of the published loop, after a step to warm up."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = PublishedData(pairs, (steps + 1) * batch, size)
    loader = DataLoader(data, batch, shuffle=True, num_workers=1, multiprocessing_context="spawn")
    network = U2Net(VARIANTS[model]).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    criterion = nn.BCELoss()
    began = 0.0
    for step, (images, truth) in enumerate(loader):
        if step == 1:
            began = time.perf_counter()
        optimizer.zero_grad()
        outputs = network(images.to(device))
        target = truth.to(device)
        loss = torch.stack([criterion(torch.sigmoid(o), target) for o in outputs]).sum()
        loss.backward()
        optimizer.step()
        loss.item()
    return steps * batch / (time.perf_counter() - began)


def time_u2cut(data: Path, model: str, batch: int, size: int, steps: int, work: Path) -> float:
    """Return images per second of ``u2cut train``, after a step to warm up."""
    command = [sys.executable, "-m", "u2cut", "train", "--data", data, "--out", work / "run"]
    command += ["--cache", work / "cache", "--model", model, "--steps", steps + 1]
    command += ["--batch-size", batch, "--resize", round(size / 0.9), "--crop", size]
    command += ["--precision", "bf16", "--workers", 1, "--log-every", 1, "--eval-every", 10**6]
    subprocess.run([str(c) for c in command], check=True)
    records = [json.loads(line) for line in (work / "run/metrics.jsonl").read_text().splitlines()]
    speeds = [r["images_per_s"] for r in records if "loss" in r][1:]
    return len(speeds) / sum(1 / speed for speed in speeds)


def draw_data(folder: Path, count: int) -> Path:
    """Write photos of 400×300 with a disc each."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        photo = cv2.GaussianBlur(rng.integers(0, 256, (300, 400, 3), np.uint8), (0, 0), 2)
        mask = cv2.circle(np.zeros((300, 400), np.uint8), (200, 150), 40 + i, 255, -1)
        photo[mask > 0] //= 2
        cv2.imwrite(str(folder / f"images/{i}.jpg"), photo)
        cv2.imwrite(str(folder / f"masks/{i}.png"), mask)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a data set; drawn by default")
    parser.add_argument("--model", default="u2netp", choices=sorted(VARIANTS))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or draw_data(Path(folder) / "data", 48)
        pairs = find_pairs([data])
        sizes = (options.model, options.batch_size, options.size, options.steps)
        print("| images/s | published loop | u2cut train | ratio |\n|---|---|---|---|")
        for turn in range(options.rounds):
            work = Path(folder) / str(turn)
            published = time_published(pairs, *sizes)
            own = time_u2cut(data, *sizes, work)
            print(f"| round {turn + 1} | {published:.2f} | {own:.2f} | {own / published:.2f} |")


if __name__ == "__main__":
    main()
