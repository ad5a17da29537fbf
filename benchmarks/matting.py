"""Compare u2cut's mattes with the plain map and with rembg's path (pymatting's closed form).

    python benchmarks/matting.py FOLDER [--cutouts DIR --backgrounds DIR] [--half tune|judge]
                                 [--maps truth|dilated|eroded|holes|network] [--model NAME]

FOLDER holds images/ and alphas/ with equal names: photos with a known alpha. With backgrounds,
their subjects ("soft") and the cutouts ("hard") are laid over these too; the halves share no
subject and no background. With --maps network each side does all it does: u2cut looks as often as
its method has it, rembg once. Without FOLDER, the photos in examples/ are cut and only timed, for
there is no truth to hold them against. The band is where the truth is soft, and five pixels
around. Needs pymatting and scipy for rembg's row.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut import Remover
from u2cut.engines.predictor import Predictor
from u2cut.evaluation.matte import matte_scores
from u2cut.matting import Method, alpha_matte, foreground, trimap
from u2cut.options import NetworkOptions
from u2cut.saliency import normalise

ROOT = Path(__file__).parent.parent
Map = NDArray[np.float32]
Photo = NDArray[np.uint8]
Case = tuple[str, str, Photo, Map | None]  # kind, name, photo, alpha
Cut = Callable[[Photo, Map], tuple[Map, Photo]]
SIZES = (1.0, 0.8, 0.9, 0.7, 0.6)  # of the background's side
HALVES = ["tune", "judge"]
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


def ours(method: Method) -> Cut:
    def cut(image: Photo, saliency: Map) -> tuple[Map, Photo]:
        alpha = alpha_matte(image, saliency, method)
        return alpha, foreground(image, alpha)

    return cut


def whole(model: str, method: Method) -> Cut:
    remover = Remover(model, matting=method)

    def cut(image: Photo, _: Map) -> tuple[Map, Photo]:
        cutout = remover.remove(image)
        return cutout.alpha, cutout.foreground

    return cut


METHODS = ("none", "fast", "best", "rembg")


def photos(folder: Path, half: str | None) -> Iterator[Case]:
    for path in halved(sorted((folder / "images").iterdir()), half):
        yield ("photos", path.stem, *with_alpha(path))


def examples() -> Iterator[Case]:
    for path in sorted((ROOT / "examples").glob("*.jpg")):
        yield "examples", path.stem, read(path), None


def composites(args: argparse.Namespace) -> Iterator[Case]:
    """Lay subjects and cutouts over backgrounds, always the same ones, at several sizes."""
    backs = halved(pictures(args.backgrounds), args.half)
    subjects = halved(sorted((args.folder / "images").iterdir()), args.half)
    for k, path in enumerate(subject for subject in subjects for _ in SIZES):
        photo, alpha = with_alpha(path)
        cutout = np.dstack((foreground(photo, alpha), np.rint(alpha * 255).astype(np.uint8)))
        back = read(backs[(7 * k + 3) % len(backs)])
        grown = max(a / b for a, b in zip(alpha.shape, back.shape[:2], strict=True))
        back = cv2.resize(back, None, fx=grown, fy=grown, interpolation=cv2.INTER_CUBIC)
        back = np.ascontiguousarray(back[: alpha.shape[0], : alpha.shape[1]])
        yield ("soft", path.stem, *laid(cutout, back, SIZES[k % len(SIZES)]))
    cutouts = halved(pictures(args.cutouts), args.half)
    for k in range(args.count):
        path = cutouts[(2 * k + 1) * len(cutouts) // (2 * args.count)]
        cutout = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA)
        back = read(backs[(5 * k + 1) % len(backs)])
        yield ("hard", path.stem, *laid(cutout, back, SIZES[k % len(SIZES)]))


def laid(cutout: Photo, back: Photo, size: float) -> tuple[Photo, Map]:
    """Stand an RGBA cutout on the lower border of a background; the photo and its alpha."""
    height, width = back.shape[:2]
    scale = size * min(height / cutout.shape[0], width / cutout.shape[1])
    cut = cv2.resize(cutout.astype(np.float32), None, fx=scale, fy=scale, interpolation=3)
    cut = cut[:height, :width]
    left = (width - cut.shape[1]) // 2
    place = np.s_[height - cut.shape[0] :, left : left + cut.shape[1]]
    alpha = np.zeros((height, width), np.float32)
    alpha[place] = cut[..., 3] / 255
    photo = back.astype(np.float32)
    photo[place] += alpha[place][..., None] * (cut[..., :3] - photo[place])
    return np.rint(photo).astype(np.uint8), alpha


def halved(found: list[Path], half: str | None) -> list[Path]:
    return found[HALVES.index(half) :: 2] if half else found


def read(path: Path) -> Photo:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


def with_alpha(path: Path) -> tuple[Photo, Map]:
    alpha = cv2.imread(str(path.parent.parent / "alphas" / path.name), cv2.IMREAD_GRAYSCALE)
    return read(path), np.float32(alpha) / 255


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
    kind, stem, image, truth = case
    if megapixels:
        scale = (megapixels * 1e6 / (image.shape[0] * image.shape[1])) ** 0.5
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
        if truth is not None:
            truth = cv2.resize(truth, (image.shape[1], image.shape[0]))
    return kind, stem, image, truth


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
    parser.add_argument("--cutouts", type=Path, help="pictures with alpha, to lay over others")
    parser.add_argument("--backgrounds", type=Path, help="what to lay them over")
    parser.add_argument("--count", type=int, default=40, help="how many of the cutouts")
    parser.add_argument("--half", choices=HALVES, help="of all; constants are chosen on tune")
    parser.add_argument("--maps", choices=MAPS, default="truth")
    parser.add_argument("--model", default="u2net", help="the network of --maps network")
    parser.add_argument("--megapixels", type=float, help="scale the photos to this size")
    parser.add_argument("--only", nargs="*", choices=METHODS, help="methods, in place of all")
    parser.add_argument("--write", type=Path, help="only write the photos here, as a data set")
    parser.add_argument("--sheets", type=Path, help="write contact sheets here")
    return parser.parse_args()


def cases(args: argparse.Namespace) -> Iterator[Case]:
    if not args.folder:
        return examples()
    laid_over = composites(args) if args.backgrounds else iter(())
    return chain(photos(args.folder, args.half), laid_over)


def write(found: Iterator[Case], folder: Path) -> None:
    """Write photos and alphas as a data set, without loss."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number, (kind, stem, image, alpha) in enumerate(found):
        assert alpha is not None
        name = f"{kind}-{number:03}-{stem}.png"
        cv2.imwrite(str(folder / "images" / name), image[..., ::-1])
        cv2.imwrite(str(folder / "masks" / name), np.rint(alpha * 255).astype(np.uint8))


def report(found: dict[str, dict[str, list[list[float]]]]) -> None:
    for kind, methods in found.items():
        print(f"\n{kind}: {len(next(iter(methods.values())))} photos, means")
        titles = ("seconds", "SAD", "MSE·1e3", "Grad", "Conn", "band SAD", "band MSE")
        print(" " * 8 + "".join(f"{title:>10}" for title in titles))
        for name, rows in methods.items():
            print(f"{name:8}" + "".join(f"{value:10.2f}" for value in np.mean(rows, axis=0)))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB")


def main() -> None:
    args = arguments()
    if args.write:
        write(cases(args), args.write)
        return
    network = args.maps == "network" or not args.folder
    predictor = Predictor(NetworkOptions(model=args.model)) if network else None
    cuts: dict[str, Cut] = {"rembg": rembg_path}
    for method in get_args(Method):
        cuts[method] = whole(args.model, method) if network else ours(method)
    cuts = {name: cuts[name] for name in args.only or METHODS}
    found: dict[str, dict[str, list[list[float]]]] = {}
    for case in cases(args):
        kind, stem, image, truth = scaled(case, args.megapixels)
        if predictor:
            saliency = normalise(predictor.fused_map(image))
        else:
            assert truth is not None
            saliency = coarse(truth, args.maps)
        rows = []
        for name, cut in cuts.items():
            start = time.perf_counter()
            alpha, colours = cut(image, saliency)
            seconds = time.perf_counter() - start
            row = [seconds, *(scores(alpha, truth) if truth is not None else [])]
            found.setdefault(kind, {}).setdefault(name, []).append(row)
            rows.append(sheet(image, saliency, alpha, colours))
        if args.sheets:
            args.sheets.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(args.sheets / f"{stem}.png"), np.vstack(rows)[..., ::-1])
    report(found)


if __name__ == "__main__":
    main()
