"""A small network taught by the large one: its photos, and the last step after its training.

python recipes/prepare.py COLLECTED PREPARED
python recipes/lite.py photos PREPARED lite/
u2cut train --config recipes/lite.toml --out run/       (from the folder that holds lite/)
python recipes/lite.py blend run/model.safetensors 0.5 lite.safetensors

`photos` takes some photos of each set, so that none decides, and puts others aside (lite/aside),
on which checkpoints are compared and the share of `blend` is chosen; a second round (--round 2)
goes on with other photos, from `u2cut train --init`. `blend` goes its share of the way from the
authors' u2netp to what was trained: batch norm was frozen, so what lies between them is a network,
too. What was learnt stays for the most part, and what was forgotten comes back.

lite-650.safetensors is what 650 of the 800 steps made (the average, unblended, half precision), to
go on from: --init recipes/lite-650.safetensors. It is not shipped: benchmarks/README.md says why.
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


def blend(trained: Path, share: float, out: Path) -> None:
    """Write (1 - share) u2netp + share trained, in half precision."""
    parent, child = (load_network(p).state_dict() for p in (bundled_path(), trained))
    mixed = {
        key: value.lerp(child[key], share) if value.is_floating_point() else value
        for key, value in parent.items()
    }
    for key in [key for key in mixed if key.endswith("bn_s1.weight")]:
        fold(mixed, key.removesuffix("bn_s1.weight"))
    # The statistics of batch norm are neutral, which half precision can't say.
    mixed = {k: v if "bn_s1" in k else v.half() for k, v in mixed.items()}
    metadata = {k: v for k, v in read_metadata(trained).items() if not k.startswith("validation")}
    metadata |= {"blend": f"{share:g} of the trained weights, the rest u2netp"}
    save_file({k: v.contiguous() for k, v in mixed.items()}, out, metadata)
    out.with_name(f"{out.name}.sha256").write_text(f"{hash_file(out)}  {out.name}\n")


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
    two.add_argument("trained", type=Path)
    two.add_argument("share", type=float)
    two.add_argument("out", type=Path)
    options = parser.parse_args()
    if options.command == "photos":
        photos(options.prepared, options.out, options.round)
    else:
        blend(options.trained, options.share, options.out)


if __name__ == "__main__":
    main()
