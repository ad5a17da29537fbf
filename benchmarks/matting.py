"""Compare u2cut's mattes with the plain map and with rembg's path (pymatting's closed form).

    python benchmarks/matting.py FOLDER [--maps truth|dilated|eroded|holes|network] [--sheets DIR]

FOLDER holds images/ and alphas/ with equal names. Without one, the photos in examples/ are cut
with the bundled network and only timed, for there is no truth to hold them against. Needs
pymatting and scipy for rembg's column.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut import Remover
from u2cut.evaluation.matte import matte_scores
from u2cut.matting import alpha_matte, foreground, trimap

ROOT = Path(__file__).parent.parent
Map = NDArray[np.float32]
Photo = NDArray[np.uint8]
MAPS = ("truth", "dilated", "eroded", "holes", "network")


def coarse(alpha: Map, kind: str) -> Map:
    """What a network would see of the truth: 320×320, damaged, blurred by two pixels."""
    small = cv2.resize(alpha, (320, 320), interpolation=cv2.INTER_AREA)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    if kind == "dilated":
        small = cv2.dilate(small, disc)
    elif kind == "eroded":
        small = cv2.erode(small, disc)
    elif kind == "holes":
        rng = np.random.default_rng(0)
        rows, columns = np.nonzero(small > 0.5)
        for i in rng.choice(len(rows), 6, replace=False):
            radius = int(rng.integers(2, 8))
            cv2.circle(small, (int(columns[i]), int(rows[i])), radius, 0, -1)
    return np.clip(cv2.GaussianBlur(small, (0, 0), 2), 0, 1)


def rembg_path(image: Photo, saliency: Map) -> tuple[Map, Photo]:
    """What rembg calls alpha_matting_cutout, with its defaults: 240, 10, 10."""
    from pymatting import estimate_alpha_cf, estimate_foreground_ml
    from scipy.ndimage import binary_erosion

    size = image.shape[1], image.shape[0]
    mask = cv2.resize((saliency * 255).astype(np.uint8), size, interpolation=cv2.INTER_LANCZOS4)
    structure = np.ones((10, 10))
    regions = np.full(mask.shape, 0.5)
    regions[binary_erosion(mask > 240, structure)] = 1
    regions[binary_erosion(mask < 10, structure, border_value=1)] = 0
    alpha = estimate_alpha_cf(image / 255, regions)
    colours = estimate_foreground_ml(image / 255, alpha)
    return alpha.astype(np.float32), np.clip(colours * 255, 0, 255).astype(np.uint8)


def ours(method: str) -> Callable[[Photo, Map], tuple[Map, Photo]]:
    def cut(image: Photo, saliency: Map) -> tuple[Map, Photo]:
        alpha = alpha_matte(image, saliency, method)  # type: ignore[arg-type]
        return alpha, foreground(image, alpha)

    return cut


def pairs(folder: Path | None) -> Iterator[tuple[str, Photo, Map | None]]:
    if folder is None:
        for path in sorted((ROOT / "examples").glob("*.jpg")):
            yield path.stem, cv2.imread(str(path))[..., ::-1].copy(), None
        return
    for path in sorted((folder / "images").iterdir()):
        truth = cv2.imread(str(folder / "alphas" / path.name), cv2.IMREAD_GRAYSCALE)
        yield path.stem, cv2.imread(str(path))[..., ::-1].copy(), np.float32(truth) / 255


def sheet(image: Photo, saliency: Map, alpha: Map, colours: Photo) -> Photo:
    """Photo, map, trimap, matte, and the cutout over four backgrounds, in a row."""
    height, width = image.shape[:2]
    squares = ((np.indices((height, width)) // 16).sum(0) % 2 * 80 + 120)[..., None]
    grey = [
        alpha_matte(image, saliency, "none") * 255,
        trimap(saliency, (height, width)),
        alpha * 255,
    ]
    tiles = [image, *(np.repeat(g[..., None], 3, axis=-1) for g in grey)]
    for ground in (255, 0, np.array((255, 0, 0)), squares):
        tiles.append(colours * alpha[..., None] + ground * (1 - alpha[..., None]))
    small = round(240 * width / height), 240
    shrunk = [
        cv2.resize(np.float32(t), small, interpolation=cv2.INTER_AREA).astype(np.uint8)
        for t in tiles
    ]
    return np.hstack(shrunk)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--maps", choices=MAPS, default="truth")
    parser.add_argument("--megapixels", type=float, help="scale the photos to this size")
    parser.add_argument("--only", nargs="*", help="names of methods, in place of all")
    parser.add_argument("--sheets", type=Path, help="write contact sheets here")
    args = parser.parse_args()
    kind = "network" if args.folder is None else args.maps
    methods = {
        "none": ours("none"),
        "fast": ours("fast"),
        "best": ours("best"),
        "rembg": rembg_path,
    }
    remover = Remover() if kind == "network" else None
    sums: dict[str, list[list[float]]] = {}
    for stem, image, truth in pairs(args.folder):
        if args.megapixels:
            scale = (args.megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        if remover:
            seen = remover.remove(image).saliency
            saliency = cv2.resize(seen, (320, 320), interpolation=cv2.INTER_AREA)
        else:
            saliency = coarse(truth, kind)
        if truth is not None and truth.shape != image.shape[:2]:
            truth = cv2.resize(truth, (image.shape[1], image.shape[0]))
        rows = []
        for name, cut in methods.items():
            if args.only and name not in args.only:
                continue
            start = time.perf_counter()
            alpha, colours = cut(image, saliency)
            row = [time.perf_counter() - start]
            if truth is not None:
                s = matte_scores(
                    np.rint(alpha * 255).astype(np.uint8), np.rint(truth * 255).astype(np.uint8)
                )
                row += [s.sad, s.mse * 1000, s.gradient, s.connectivity]
            sums.setdefault(name, []).append(row)
            if name != "none":
                rows.append(sheet(image, saliency, alpha, colours))
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(args.sheets / f"{stem}.png"), np.vstack(rows)[..., ::-1])
    print(f"{'':8}{'seconds':>9}{'SAD':>9}{'MSE·1e3':>9}{'Grad':>9}{'Conn':>9}")
    for name, found in sums.items():
        print(f"{name:8}" + "".join(f"{value:9.2f}" for value in np.mean(found, axis=0)))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


if __name__ == "__main__":
    sys.exit(main())
