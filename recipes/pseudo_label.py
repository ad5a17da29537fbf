"""Give photos without masks the masks that a teacher is sure of, for self-training.

python recipes/pseudo_label.py PHOTOS WEIGHTS OUT

The teacher's map (mean over the photo and its mirror image) is sharpened by GrabCut on the
photo's colours. A photo is kept when the map is confident, the two agree, and the subject is
one piece of a plausible size; or when kept.txt names it: its mask was looked at and is right.
OUT gets images (links) and masks, where 128 means unknown.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch

from u2cut.saliency import prepare
from u2cut.weights import local
from u2cut.weights.load import load_network

KEPT = Path(__file__).with_name("kept.txt")
UNKNOWN = 128
AGREE, CONFIDENT = 0.75, 0.5


@torch.inference_mode()
def teach(network: torch.nn.Module, photo: np.ndarray, size: int) -> np.ndarray:
    """Return the teacher's map of a photo, (H, W) float32 in [0, 1]."""
    both = np.stack([prepare(photo, size), prepare(np.ascontiguousarray(photo[:, ::-1]), size)])
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.from_numpy(both))[0]
    plain, mirrored = torch.sigmoid(logits[:, 0].float()).numpy()
    fused = (plain + mirrored[:, ::-1]) / 2
    return cv2.resize(fused, photo.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def sharpen(photo: np.ndarray, fused: np.ndarray) -> np.ndarray:
    """Return GrabCut's idea of the subject, starting from the map, (H, W) bool."""
    labels = np.where(fused > 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[fused > 0.93] = cv2.GC_FGD
    labels[fused < 0.03] = cv2.GC_BGD
    if not (np.isin(labels, (0, 2)).any() and np.isin(labels, (1, 3)).any()):
        return fused > 0.5
    models = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(photo, labels, None, models[0], models[1], 2, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    return cv2.morphologyEx(found, cv2.MORPH_CLOSE, kernel) > 0


def judge(fused: np.ndarray, sharp: np.ndarray) -> tuple[float, float, float, float]:
    """Return confidence, agreement, share of the photo, share of the largest piece."""
    coarse = fused > 0.5
    confidence = float(np.abs(2 * fused - 1)[coarse].mean()) if coarse.any() else 0.0
    agreement = float((coarse & sharp).sum()) / max(1, int((coarse | sharp).sum()))
    areas = cv2.connectedComponentsWithStats(sharp.astype(np.uint8))[2][1:, 4]
    largest = float(areas.max(initial=0)) / max(1, int(sharp.sum()))
    return confidence, agreement, float(sharp.mean()), largest


def sure(fused: np.ndarray, sharp: np.ndarray) -> bool:
    """Tell whether a mask may be trusted without a look."""
    confidence, agreement, share, largest = judge(fused, sharp)
    return confidence >= CONFIDENT and agreement >= AGREE and 0.02 < share < 0.6 and largest >= 0.8


def main() -> None:
    """Label the photos that the teacher is sure of."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, help="of the network's input, instead of its own")
    arguments = parser.parse_args()
    weights = local(arguments.weights)
    network = load_network(weights.path).to(memory_format=torch.channels_last)
    for part in ("images", "masks"):
        (arguments.out / part).mkdir(parents=True, exist_ok=True)
    seen = set(KEPT.read_text(encoding="utf-8").splitlines())
    photos, kept = sorted(arguments.photos.iterdir()), 0
    for path in photos:
        if (arguments.out / "masks" / f"{path.stem}.png").exists():
            kept += 1  # an earlier teacher was sure already
            continue
        photo = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        fused = teach(network, photo, arguments.size or weights.input_size)
        sharp = sharpen(photo, fused)
        if path.stem not in seen and not sure(fused, sharp):
            continue
        # Where the teacher and the colours disagree, nobody knows.
        mask = np.where(sharp == (fused > 0.5), 255 * sharp.astype(np.uint8), UNKNOWN)
        cv2.imwrite(str(arguments.out / "masks" / f"{path.stem}.png"), mask.astype(np.uint8))
        link = arguments.out / "images" / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
        kept += 1
    sys.stdout.write(f"{kept} of {len(photos)} photos labelled\n")


if __name__ == "__main__":
    main()
