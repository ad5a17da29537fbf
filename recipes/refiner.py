"""The refiner: a small network that corrects a saliency map, given the photo and the map.

python recipes/prepare.py COLLECTED PREPARED
python recipes/refiner.py maps PREPARED COLLECTED maps/
python recipes/refiner.py train maps/ refiner.safetensors

The network is `lite` with three more input channels: the usual map, the view that was chosen, and
the mean of the views (all three the usual map where no other view is seen); `engines.refiner` adds
its answer to them. `maps` keeps what u2netp and u2net make of photos, close-ups and composites;
`train` goes over them, and goes on where it was stopped. weights/refiner.md has the figures, on
recipes/validation.txt.
"""

import argparse
import pickle
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from u2cut import saliency
from u2cut.datasets.masks import read_pair
from u2cut.datasets.pairs import scan
from u2cut.engines.levelled import level
from u2cut.engines.predictor import Predictor
from u2cut.engines.refiner import SIZE, given, kept
from u2cut.model import BATCH_NORM_EPSILON, REFINER, ConvBNReLU, U2Net
from u2cut.options import NetworkOptions
from u2cut.weights.load import SCALE, load_network
from u2cut.weights.registry import bundled_path

NETWORKS = ("u2netp", "u2net")
# How many photos of a set are taken at most; one in six once more as a close-up.
TAKEN = {"VOC-animals": 420, "CCP-person": 110, "OxfordPets": 180, "Mandarins": 40, "FoodID": 110}
MOST = 120
COMPOSITES, FREE = 560, (("general", 300), ("unlabelled", 200))
# Masks that are coarse by a few pixels: their outline isn't learnt.
COARSE = ("VOC-animals", "FeralCats296", "Cats81", "DogCat", "Mugs", "COCO-mini", "FoodID")
BATCH = 8
UNSURE = 0.12  # of a teacher, where there is no mask
Row = dict[str, Any]


def maps(prepared: Path, collected: Path, out: Path) -> None:
    """Keep photos, masks (0, 255; 128 unknown; None without) and each network's three maps."""
    draw = random.Random(11)
    jobs: list[tuple[str, Any]] = []
    sets: dict[str, list[Any]] = {}
    for pair in scan([prepared / "train"]).pairs:
        sets.setdefault(Path(pair.group).name, []).append(pair)
    # Every other cutout and background is for judging (benchmarks/matting.py), as are validation's
    # subjects, which have their cutouts, too.
    files = sorted(p for p in (collected / "cutouts").rglob("*.*") if p.is_file())
    judged = {(p.parent.name, p.stem) for p in files[1::2]}
    judged |= {(Path(p.group).name, p.stem) for p in scan([prepared / "val"]).pairs}
    cutouts = [p for p in files if (p.parent.name, p.stem) not in judged]
    sets.pop("PersonCutouts200", None)  # seen in composites
    for name, found in sets.items():
        pairs = [pair for pair in found if (name, pair.stem) not in judged]
        taken = draw.sample(pairs, min(len(pairs), TAKEN.get(name, MOST)))
        jobs += [("photo", pair) for pair in taken]
        jobs += [("close", pair) for pair in taken[: len(taken) // 6]]
    grounds = sorted(p for p in (collected / "backgrounds").rglob("*.*") if p.is_file())[::2]
    jobs += [("composite", (draw.choice(cutouts), draw.choice(grounds))) for _ in range(COMPOSITES)]
    for folder, count in FREE:
        free = sorted((prepared / folder).iterdir())
        jobs += [("free", photo) for photo in draw.sample(free, min(count, len(free)))]
    draw.shuffle(jobs)
    predictors = {name: Predictor(NetworkOptions(model=name)) for name in NETWORKS}
    out.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(jobs), 200):
        rows = [row for job in jobs[start : start + 200] if (row := see(*job, draw, predictors))]
        (out / f"{start:05}.pickle").write_bytes(pickle.dumps(rows))
        print(start + len(rows), "of", len(jobs), flush=True)


def see(kind: str, what: Any, draw: random.Random, predictors: dict[str, Predictor]) -> Row | None:
    """Return a photo with its mask and maps; None where it is no use."""
    name, mask = kind, None
    if kind == "free":
        image = cv2.imread(str(what))[..., ::-1].copy()
    elif kind == "composite":
        image, mask = paste(*what, draw)
    else:
        frame, mask = read_pair(what)
        image, name = frame.image, Path(what.group).name
        if kind == "close":
            box = around(mask, draw)
            image, mask = np.ascontiguousarray(image[box]), mask[box]
            if min(mask.shape) < 90:
                return None
    row: Row = {"name": name, "photo": np.rint(saliency.shrink(image, SIZE)).astype(np.uint8)}
    row["mask"] = mask
    for network, predictor in predictors.items():
        fused = [predictor.fused_map(image), *predictor.views(image)]
        views = [m for m in map(saliency.to_saliency, fused) if m is not None]
        if saliency.to_saliency(fused[0]) is None:  # no subject, as far as u2cut is concerned
            return None
        stack = given(saliency.surest(views, None), views)
        row[network] = np.rint(stack * 255).astype(np.uint8)
    return row


def around(mask: NDArray[np.uint8], draw: random.Random) -> tuple[slice, slice]:
    """Return a box near the subject's, which may cut some of it off."""
    slices = []
    for axis in (0, 1):
        hits = np.flatnonzero((mask > 128).any(axis=1 - axis))
        if not len(hits):
            return slice(0, 0), slice(0, 0)
        first, last = int(hits[0]), int(hits[-1]) + 1
        less, more = (int(draw.uniform(-0.12, 0.1) * (last - first)) for _ in range(2))
        slices.append(slice(max(0, first - less), min(mask.shape[axis], last + more)))
    return slices[0], slices[1]


def paste(
    cutout: Path, ground: Path, draw: random.Random
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Lay a cutout over a background: the photo and the mask."""
    subject = cv2.imread(str(cutout), cv2.IMREAD_UNCHANGED)
    behind = cv2.imread(str(ground)).astype(np.float32)
    height, width = behind.shape[:2]
    share = draw.uniform(0.45, 1.25) * min(height / subject.shape[0], width / subject.shape[1])
    x = draw.uniform(-0.15, 1.15) * (width - share * subject.shape[1])
    y = draw.uniform(0.3, 1.1) * (height - share * subject.shape[0])
    matrix = np.array([[share, 0, x], [0, share, y]], np.float32)
    laid = cv2.warpAffine(subject, matrix, (width, height), flags=cv2.INTER_AREA)
    alpha = laid[..., 3:].astype(np.float32) / 255
    tint = np.array([draw.uniform(0.75, 1.25) for _ in range(3)], np.float32)
    mixed = alpha * np.clip(laid[..., :3] * tint, 0, 255) + (1 - alpha) * behind
    coded = cv2.imencode(".jpg", mixed, [cv2.IMWRITE_JPEG_QUALITY, draw.randint(60, 95)])[1]
    photo = cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1]
    mask = np.where(alpha[..., 0] > 0.5, 255, 0).astype(np.uint8)
    return np.ascontiguousarray(photo, np.uint8), mask


def beginning() -> U2Net:
    """Return `lite` with blind channels for the maps, and half as sure: it only adds to them.

    Its near-constant channels are levelled for good (`engines.levelled`): what the border then
    lacks is learnt.
    """
    lite = load_network(bundled_path("lite"))
    for block in lite.modules():
        if isinstance(block, ConvBNReLU):
            block.conv_s1 = fuse_conv_bn_eval(block.conv_s1, block.bn_s1)
            block.bn_s1 = nn.BatchNorm2d(block.conv_s1.out_channels)
            block.bn_s1.running_var.fill_(1 - BATCH_NORM_EPSILON)  # type: ignore[union-attr]
    level(lite)
    network = U2Net(REFINER)
    state = lite.state_dict()
    first = "stage1.rebnconvin.conv_s1.weight"
    blind = torch.zeros_like(network.state_dict()[first])
    blind[:, :3] = state[first]
    halved = {name: state[name] / 2 for name in ("outconv.weight", "outconv.bias")}
    network.load_state_dict({**state, first: blind, **halved})
    return network.eval()


def target(row: Row) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Return what is to be learnt and where, (S, S) in [0, 1]; None without an answer."""
    if row["mask"] is None:
        teacher = row["u2net"][1].astype(np.float32) / 255
        sure = saliency.uncertainty(teacher) <= UNSURE
        return (teacher, np.ones_like(teacher)) if sure else None
    mask = row["mask"]
    subject = cv2.resize((mask > 128).astype(np.float32), (SIZE, SIZE))
    known = cv2.resize(
        (mask != 128).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_NEAREST
    )
    if row["name"] in COARSE:
        kernel, solid = np.ones((7, 7), np.uint8), (subject > 0.5).astype(np.uint8)
        known[cv2.dilate(solid, kernel) != cv2.erode(solid, kernel)] = 0
        teacher = row["u2net"][1] > 127
        both, either = (teacher & (solid > 0)).sum(), (teacher | (solid > 0)).sum()
        if both > 0.5 * either:  # the same subject: where they differ, nobody knows
            known[teacher != (solid > 0)] = 0
    return np.asarray(subject, np.float32), np.asarray(known, np.float32)


def train(folder: Path, out: Path, *, steps: int) -> None:
    """Teach the refiner: AdamW, a cosine, batch norm frozen, a mean of the weights is kept.

    Goes on where it was stopped, from the file beside `out`.
    """
    draw = np.random.default_rng(3)
    rows = [row for path in sorted(folder.iterdir()) for row in pickle.loads(path.read_bytes())]
    seen = [(row, found) for row in rows if (found := target(row)) is not None]
    network = beginning().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), 8e-5, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    progress, begun = out.with_suffix(".progress.pt"), 0
    if progress.exists():
        saved = torch.load(progress)
        begun, average = saved["step"], saved["average"]
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        draw = np.random.default_rng((3, begun))
    print(len(seen), "of", len(rows), "from step", begun, flush=True)
    for step in range(begun + 1, steps + 1):
        batch = [example(*seen[k], draw) for k in draw.integers(len(seen), size=BATCH)]
        inputs, base, wanted, known = (
            torch.from_numpy(np.stack(x)) for x in zip(*batch, strict=True)
        )
        inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(inputs)
        fused, *sides = (x.float()[:, 0] for x in logits)
        fused = fused + base
        shown = fused.sigmoid()
        both = (torch.minimum(shown, wanted) * known).sum((1, 2))
        either = (torch.maximum(shown, wanted) * known).sum((1, 2))
        loss = entropy(fused, wanted, known) + 0.3 * (1 - (both + 1) / (either + 1)).mean()
        loss = loss + 0.1 * torch.stack([entropy(x, wanted, known) for x in sides]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                average[name].lerp_(value, 0.01)
        if step % 50 == 0 or step == steps:
            print(step, f"{loss.item():.3f}", flush=True)
            save(average, out)
            state = {"step": step, "average": average, "network": network.state_dict()}
            state |= {"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
            torch.save(state, progress)


def save(state: dict[str, Tensor], out: Path) -> None:
    """Write a state: convolutions in 8 bits with a scale for each output channel, all else fp32."""
    whole = {}
    for name, tensor in state.items():
        if tensor.dim() != 4:
            whole[name] = tensor.contiguous()
            continue
        scale = tensor.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12) / 127
        whole[name] = (tensor / scale).round().to(torch.int8).contiguous()
        whole[name + SCALE] = scale.contiguous()
    save_file(whole, out)


def entropy(logits: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Return the mean cross-entropy where the answer is known."""
    each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def example(
    row: Row, found: tuple[NDArray[np.float32], NDArray[np.float32]], draw: np.random.Generator
) -> tuple[NDArray[np.float32], ...]:
    """Return inputs, what the maps say, target and where it is known, mirrored half of the time."""
    maps = row[NETWORKS[draw.integers(2)]].astype(np.float32) / 255
    if draw.random() < 0.35:  # only the usual view is there
        maps = np.stack([maps[0]] * 3)
    colours = row["photo"] * draw.uniform(0.75, 1.25) * draw.uniform(0.94, 1.06, 3)
    photo = saliency.preprocess(np.clip(colours, 0, 255).astype(np.uint8), SIZE)
    pictures = [np.concatenate([photo, 2 * maps - 1]), kept(maps), *found]
    if draw.random() < 0.5:
        pictures = [picture[..., ::-1] for picture in pictures]
    return tuple(np.ascontiguousarray(picture, np.float32) for picture in pictures)


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("maps")
    for name in ("prepared", "collected", "out"):
        one.add_argument(name, type=Path)
    two = commands.add_parser("train")
    two.add_argument("folder", type=Path)
    two.add_argument("out", type=Path)
    two.add_argument("--steps", type=int, default=1400)
    options = parser.parse_args()
    if options.command == "maps":
        maps(options.prepared, options.collected, options.out)
    else:
        train(options.folder, options.out, steps=options.steps)


if __name__ == "__main__":
    main()
