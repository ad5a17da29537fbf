"""A small network taught by the large one: its photos, and the last step after its training.

python recipes/prepare.py COLLECTED PREPARED
python recipes/lite.py photos PREPARED lite/
u2cut train --config recipes/lite.toml --out one/       (from the folder that holds lite/)
python recipes/lite.py photos PREPARED lite/ --round 2  (lite/ anew)
u2cut train --config recipes/lite.toml --init one/model.safetensors --steps 500 --lr 2e-5 \
    --ema 0.99 --out two/
python recipes/lite.py blend lite.safetensors 0.3:one/model.safetensors 0.4:two/model.safetensors

`photos` takes some photos of each set, so that none decides, and puts others aside (lite/aside),
on which checkpoints are compared and the shares of `blend` are chosen; the second round goes on
with other photos. `blend` goes its shares of the way from the authors' u2netp to what was trained:
batch norm was frozen, so what lies between them is a network, too. What was learnt stays for the
most part, and what was forgotten comes back.
"""

import argparse
import random
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from u2cut.weights.load import load_network
from u2cut.weights.metadata import read_metadata
from u2cut.weights.notes import hash_file
from u2cut.weights.registry import bundled_path

# How many photos of each set are learnt from.
TAKEN = {
    "VOC-animals": 420,
    "OxfordPets": 120,
    "FoodID": 120,
    "COCO-mini": 132,
    "FeralCats296": 70,
    "Cats81": 30,
    "DogCat": 30,
    "CCP-person": 120,
    "HumanSeg290": 70,
    "PersonCutouts200": 60,
    "Bottles-waste": 50,
    "Mandarins": 40,
    "Mugs": 53,
    "NoiseObjects-alex": 50,
    "SmallObjects-alex": 54,
    "Pens10": 7,
}
# Which photos without masks a round takes, and how many.
WITHOUT_MASKS = ("unlabelled", "general")
UNLABELLED = (420, 600)
ASIDE = 22


def photos(prepared: Path, out: Path, number: int) -> None:
    """Link the photos of a round to learn from, and those set aside, the same in every round."""
    draw = random.Random(7)
    for name, count in TAKEN.items():
        masks = {p.stem: p for p in (prepared / "train" / name / "masks").iterdir()}
        found = sorted((prepared / "train" / name / "images").iterdir())
        draw.shuffle(found)
        aside = found[count : count + ASIDE]
        taken = of_round(found[:count] + found[count + ASIDE :], count, number)
        for some, folder in ((taken, out / name), (aside, out / "aside" / name)):
            for photo in some:
                link(photo, folder / "images")
                link(masks[photo.stem], folder / "masks")
    found = sorted((prepared / WITHOUT_MASKS[number - 1]).iterdir())
    draw.shuffle(found)
    for photo in found[: UNLABELLED[number - 1]]:
        link(photo, out / "unlabelled")


def of_round(found: list[Path], count: int, number: int) -> list[Path]:
    """Return the photos of a round: the next ones, or the last ones where they run out."""
    first = max(0, min((number - 1) * count, len(found) - count))
    return found[first : first + count]


def link(file: Path, folder: Path) -> None:
    """Link a file into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file.name).symlink_to(file.resolve())


def blend(parts: list[tuple[float, Path]], out: Path) -> None:
    """Write a weighted sum of networks and, for the rest, u2netp, in half precision."""
    rest = 1 - sum(share for share, _ in parts)
    states = [(share, folded(path)) for share, path in [(rest, bundled_path("u2netp")), *parts]]
    mixed = {}
    for key, first in states[0][1].items():
        # The statistics of batch norm are neutral, which half precision can't say.
        if "bn_s1" in key:
            mixed[key] = first
        else:
            total = sum((share * state[key] for share, state in states), torch.zeros_like(first))
            mixed[key] = total.half()
    metadata = read_metadata(parts[-1][1])
    metadata = {k: v for k, v in metadata.items() if not k.startswith("validation")}
    said = ", ".join(f"{share:g} of {path.parent.name}" for share, path in parts)
    metadata |= {"init": "u2netp", "blend": f"{said}, the rest u2netp"}
    save_file({k: v.contiguous() for k, v in mixed.items()}, out, metadata)
    out.chmod(0o644)
    out.with_name(f"{out.name}.sha256").write_text(f"{hash_file(out)}  {out.name}\n")


def folded(path: Path) -> dict[str, Tensor]:
    """Return a network's weights with each batch norm folded into its convolution."""
    state = load_network(path).float().state_dict()
    for key in [key for key in state if key.endswith("bn_s1.weight")]:
        fold(state, key.removesuffix("bn_s1.weight"))
    return state


def fold(state: dict[str, Tensor], prefix: str) -> None:
    """Fold a batch norm's scale and shift into its convolution, and leave it neutral."""
    scale, shift = state[f"{prefix}bn_s1.weight"], state[f"{prefix}bn_s1.bias"]
    state[f"{prefix}conv_s1.weight"] *= scale[:, None, None, None]
    state[f"{prefix}conv_s1.bias"] = state[f"{prefix}conv_s1.bias"] * scale + shift
    state[f"{prefix}bn_s1.weight"] = torch.ones_like(scale)
    state[f"{prefix}bn_s1.bias"] = torch.zeros_like(shift)


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("photos")
    one.add_argument("prepared", type=Path)
    one.add_argument("out", type=Path)
    one.add_argument(
        "--round", type=int, choices=(1, 2), default=1, help="1, or 2 to go on with other photos"
    )
    two = commands.add_parser("blend")
    two.add_argument("out", type=Path)
    two.add_argument("parts", nargs="+", metavar="SHARE:FILE")
    options = parser.parse_args()
    if options.command == "photos":
        photos(options.prepared, options.out, options.round)
    else:
        parts = [part.split(":", 1) for part in options.parts]
        blend([(float(share), Path(path)) for share, path in parts], options.out)


if __name__ == "__main__":
    main()
