"""Compare u2cut's mattes with the plain map and with rembg's path (pymatting's closed form).

    python benchmarks/matting.py FOLDER [--maps truth|dilated|eroded|holes|network] [--sheets DIR]
    python benchmarks/matting.py --cutouts DIR --backgrounds DIR [--count 10] [--maps KIND]

FOLDER holds images/ and alphas/ with equal names. Cutouts (pictures with alpha) are laid over
backgrounds, always the same ones. Without any of these, the photos in examples/ are cut with the
bundled network and only timed, for there is no truth to hold them against. The band is where the
truth is soft, and five pixels around. Peak memory is the process's: take one method with --only.
Needs pymatting and scipy for rembg's row.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut import Remover
from u2cut.evaluation.matte import matte_scores
from u2cut.matting import Method, alpha_matte, foreground, trimap

ROOT = Path(__file__).parent.parent
Map = NDArray[np.float32]
Photo = NDArray[np.uint8]
Case = tuple[str, Photo, Map | None]  # name, photo, alpha
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


def ours(method: Method) -> Callable[[Photo, Map], tuple[Map, Photo]]:
    def cut(image: Photo, saliency: Map) -> tuple[Map, Photo]:
        alpha = alpha_matte(image, saliency, method)
        return alpha, foreground(image, alpha)

    return cut


METHODS = {
    "none": ours("none"),
    "fast": ours("fast"),
    "best": ours("best"),
    "rembg": rembg_path,
}


def photos(folder: Path, names: list[str] | None) -> Iterator[Case]:
    for path in sorted((folder / "images").iterdir()):
        if names and path.stem not in names:
            continue
        truth = cv2.imread(str(folder / "alphas" / path.name), cv2.IMREAD_GRAYSCALE)
        yield path.stem, cv2.imread(str(path))[..., ::-1].copy(), np.float32(truth) / 255


def examples() -> Iterator[Case]:
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        yield path.stem, cv2.imread(str(path))[..., ::-1].copy(), None


def composites(cutouts: Path, backgrounds: Path, count: int) -> Iterator[Case]:
    """Lay evenly chosen cutouts over evenly chosen backgrounds, standing on the lower border."""
    fronts, backs = (
        [paths[(2 * i + 1) * len(paths) // (2 * count)] for i in range(count)]
        for paths in (pictures(cutouts), pictures(backgrounds))
    )
    for front, back in zip(fronts, backs, strict=True):
        ground = cv2.imread(str(back)).astype(np.float32)
        cutout = cv2.imread(str(front), cv2.IMREAD_UNCHANGED).astype(np.float32)
        height, width = ground.shape[:2]
        scale = 0.8 * min(height / cutout.shape[0], width / cutout.shape[1])
        cutout = cv2.resize(cutout, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        rows = slice(height - cutout.shape[0], height)
        left = (width - cutout.shape[1]) // 2
        columns = slice(left, left + cutout.shape[1])
        alpha = np.zeros((height, width), np.float32)
        alpha[rows, columns] = cutout[..., 3] / 255
        a = alpha[rows, columns, None]
        ground[rows, columns] = a * cutout[..., :3] + (1 - a) * ground[rows, columns]
        yield front.stem, np.rint(ground).astype(np.uint8)[..., ::-1].copy(), alpha


def pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix in {".png", ".webp", ".jpg"})


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


def scaled(case: Case, megapixels: float | None) -> Case:
    stem, image, truth = case
    if megapixels:
        scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        if truth is not None:
            truth = cv2.resize(truth, (image.shape[1], image.shape[0]))
    return stem, image, truth


def scores(alpha: Map, truth: Map) -> list[float]:
    """SAD, MSE·10³, Gradient and Connectivity over all pixels; SAD and MSE·10³ in the band."""
    levels, true = (np.rint(x * 255).astype(np.uint8) for x in (alpha, truth))
    s = matte_scores(levels, true)
    soft = ((true > 5) & (true < 250)).astype(np.uint8)
    band = cv2.dilate(soft, np.ones((11, 11), np.uint8)) > 0
    error = np.abs(alpha - truth)[band]
    inside = [float(error.sum()) / 1000, float(np.square(error).mean()) * 1000]
    return [s.sad, s.mse * 1000, s.gradient, s.connectivity, *inside]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--photos", nargs="*", help="names in FOLDER, in place of all")
    parser.add_argument("--cutouts", type=Path, help="pictures with alpha, in place of FOLDER")
    parser.add_argument("--backgrounds", type=Path, help="what to lay the cutouts over")
    parser.add_argument("--count", type=int, default=10, help="how many composites")
    parser.add_argument("--maps", choices=MAPS, default="truth")
    parser.add_argument("--megapixels", type=float, help="scale the photos to this size")
    parser.add_argument("--only", nargs="*", choices=METHODS, help="methods, in place of all")
    parser.add_argument("--sheets", type=Path, help="write contact sheets here")
    return parser.parse_args()


def cases(args: argparse.Namespace) -> Iterator[Case]:
    if args.cutouts and args.backgrounds:
        return composites(args.cutouts, args.backgrounds, args.count)
    return photos(args.folder, args.photos) if args.folder else examples()


def report(found: dict[str, list[list[float]]]) -> None:
    titles = ("seconds", "SAD", "MSE·1e3", "Grad", "Conn", "band SAD", "band MSE")
    print(" " * 8 + "".join(f"{title:>10}" for title in titles))
    for name, rows in found.items():
        print(f"{name:8}" + "".join(f"{value:10.2f}" for value in np.mean(rows, axis=0)))
    print(f"{len(next(iter(found.values())))} photos, means")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


def main() -> None:
    args = arguments()
    methods = args.only or METHODS
    known = bool(args.folder or args.cutouts)
    remover = None if known and args.maps != "network" else Remover()
    found: dict[str, list[list[float]]] = {name: [] for name in methods}
    for case in cases(args):
        stem, image, truth = scaled(case, args.megapixels)
        if remover:
            seen = remover.remove(image).saliency
            saliency = cv2.resize(seen, (320, 320), interpolation=cv2.INTER_AREA)
        else:
            assert truth is not None
            saliency = coarse(truth, args.maps)
        rows = []
        for name in methods:
            start = time.perf_counter()
            alpha, colours = METHODS[name](image, saliency)
            seconds = time.perf_counter() - start
            found[name].append([seconds, *(scores(alpha, truth) if truth is not None else [])])
            rows.append(sheet(image, saliency, alpha, colours))
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(args.sheets / f"{stem}.png"), np.vstack(rows)[..., ::-1])
    report(found)


if __name__ == "__main__":
    main()
