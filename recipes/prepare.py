"""Turn the collected sets into the folders to train and validate on.

python recipes/prepare.py COLLECTED OUT

COLLECTED holds GROUP/SET/images and GROUP/SET/masks, cutouts/SET (RGBA photos), backgrounds,
unlabelled and general/images. OUT gets train/SET and val/SET, each with images and masks (links,
where nothing changes; 128 in a mask means unknown), unlabelled and general the photos without
masks, and unions those whose union of annotations is no subject. Which names are for validation is
read from validation.txt; --split writes that file. What left_out.txt names isn't trained on: masks
that were looked at and are not what a person would cut out.
"""

import argparse
import random
import sys
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np

LIST = Path(__file__).with_name("validation.txt")
LEFT_OUT = Path(__file__).with_name("left_out.txt")
# How many photos of each set are held back.
HELD_BACK = {
    "VOC-animals": 60,
    "OxfordPets": 35,
    "FeralCats296": 20,
    "Cats81": 10,
    "DogCat": 10,
    "CCP-person": 30,
    "HumanSeg290": 30,
    "COCO-mini": 60,
    "Bottles-waste": 25,
    "Mugs": 15,
    "Mandarins": 20,
    "FoodID": 20,
    "NoiseObjects-alex": 30,
    "SmallObjects-alex": 25,
    "Pens10": 3,
}
# Sets whose masks are the union of all that was annotated: only plausible subjects are kept.
UNIONS = ("VOC-animals", "COCO-mini")
EDGE = 2  # pixels on both sides of their outlines that are unknown: they were drawn coarsely
ALIKE = 8  # bits of 64 in which the hashes of two near-duplicates differ at most


def difference_hash(path: Path) -> int:
    """Return 64 bits: whether each pixel of a 9×8 grey thumbnail is darker than its neighbour."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def clusters(paths: list[Path]) -> dict[Path, int]:
    """Give near-duplicates the same number, transitively."""
    hashes = np.array([difference_hash(p) for p in paths], np.uint64)
    number = list(range(len(paths)))

    def root(i: int) -> int:
        while number[i] != i:
            number[i] = number[number[i]]
            i = number[i]
        return i

    for i, own in enumerate(hashes):
        differing = np.bitwise_count(hashes[i + 1 :] ^ own)
        for j in np.flatnonzero(differing <= ALIKE):
            number[root(i + 1 + int(j))] = root(i)
    return {p: root(i) for i, p in enumerate(paths)}


def plausible(mask_path: Path) -> bool:
    """Tell whether a union of annotations could be what a person calls the subject."""
    mask = (cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8)
    share = float(mask.mean())
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    areas = cv2.connectedComponentsWithStats(mask)[2][1:, 4]
    return 0.03 < share < 0.65 and border < 0.25 and areas.max(initial=0) > 0.7 * mask.sum()


def mask_of(image: Path) -> Path:
    """Return the mask beside a photo."""
    return image.parent.parent / "masks" / f"{image.stem}.png"


def find_photos(collected: Path) -> dict[str, list[Path]]:
    """Return the photos of each set that has masks."""
    found = {
        folder.parent.name: sorted(folder.iterdir()) for folder in collected.glob("*/*/images")
    }
    return {name: found[name] for name in sorted(found) if name in HELD_BACK}


def others(collected: Path) -> list[Path]:
    """Return the photos that are trained on without a mask file: cutouts and unlabelled."""
    return sorted((collected / "cutouts").glob("*/*")) + sorted(
        (collected / "unlabelled").glob("*")
    )


def link_unlike(photos: list[Path], held: list[Path], folder: Path) -> None:
    """Link the photos that resemble none of those held back."""
    hashes = np.array([difference_hash(p) for p in held], np.uint64)
    for path in photos:
        if np.bitwise_count(hashes ^ np.uint64(difference_hash(path))).min() > ALIKE:
            link(path, folder / path.name)


def choose(photos: dict[str, list[Path]], alike: dict[Path, int]) -> list[str]:
    """Draw validation names; photos with many near-duplicates come last.

    What is alike to a photo that is held back is left out of training altogether.
    """
    rng = random.Random(20)
    members = defaultdict(list)
    for path, number in alike.items():
        members[number].append(path)
    names = []
    for name, paths in photos.items():
        usable = [p for p in paths if name not in UNIONS or plausible(mask_of(p))]
        rng.shuffle(usable)
        usable.sort(key=lambda p: len(members[alike[p]]) > 3)
        names += [f"{name}/{p.stem}" for p in sorted(usable[: HELD_BACK[name]])]
    return names


def link(target: Path, path: Path) -> None:
    """Link ``path`` to ``target``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.symlink_to(target.resolve())


def write_pair(image: Path, folder: Path) -> None:
    """Put a photo and its mask into a set."""
    link(image, folder / "images" / image.name)
    link(mask_of(image), folder / "masks" / mask_of(image).name)


def write_coarse_pair(image: Path, folder: Path) -> None:
    """Put a photo and its mask into a set, the mask's outline as unknown."""
    mask = cv2.imread(str(mask_of(image)), cv2.IMREAD_GRAYSCALE)
    subject = np.where(mask > 127, 255, 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE + 1, 2 * EDGE + 1))
    subject[cv2.dilate(subject, disc) != cv2.erode(subject, disc)] = 128
    link(image, folder / "images" / image.name)
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "masks" / mask_of(image).name), subject)


def write_cutout(path: Path, folder: Path) -> None:
    """Divide an RGBA photo into a photo and a mask."""
    rgba = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    for part, pixels in (("images", rgba[:, :, :3]), ("masks", rgba[:, :, 3])):
        (folder / part).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / part / f"{path.stem}.png"), pixels)


def main() -> None:
    """Split, or write the folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("collected", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", action="store_true", help="draw validation.txt anew first")
    arguments = parser.parse_args()
    photos = find_photos(arguments.collected)
    loose = others(arguments.collected)
    alike = clusters([p for paths in photos.values() for p in paths] + loose)
    if arguments.split:
        LIST.write_text("\n".join(choose(photos, alike)) + "\n", encoding="utf-8")
    held = set(LIST.read_text(encoding="utf-8").splitlines())
    left_out = set(LEFT_OUT.read_text(encoding="utf-8").splitlines())
    held_clusters = {
        alike[p] for name, paths in photos.items() for p in paths if f"{name}/{p.stem}" in held
    }
    for name, paths in photos.items():
        for path in paths:
            if f"{name}/{path.stem}" in held:
                write_pair(path, arguments.out / "val" / name)
            elif alike[path] in held_clusters:
                continue
            elif name not in UNIONS:
                write_pair(path, arguments.out / "train" / name)
            elif plausible(mask_of(path)) and f"{name}/{path.stem}" not in left_out:
                write_coarse_pair(path, arguments.out / "train" / name)
            elif f"unions/{path.stem}" not in left_out:
                link(path, arguments.out / "unions" / path.name)
    for path in loose:
        if alike[path] in held_clusters or f"{path.parent.name}/{path.stem}" in left_out:
            continue
        if path.parent.name == "PersonCutouts200":  # the other cutouts are pairs already
            write_cutout(path, arguments.out / "train" / path.parent.name)
        elif path.parent.name == "unlabelled":
            link(path, arguments.out / "unlabelled" / path.name)
    link_unlike(
        sorted((arguments.collected / "general" / "images").glob("*")),
        [p for name, paths in photos.items() for p in paths if f"{name}/{p.stem}" in held],
        arguments.out / "general",
    )
    for folder in sorted(arguments.out.glob("*/*/images")):
        sys.stdout.write(
            f"{len(list(folder.iterdir())):5} {folder.parent.relative_to(arguments.out)}\n"
        )


if __name__ == "__main__":
    main()
