"""Finding photos and their masks, and checking them before the first step."""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from u2cut.errors import DataError
from u2cut.stdio import printable

logger = logging.getLogger("u2cut")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Pair:
    """A photo and its mask.

    Attributes:
        image: The photo's file.
        mask: The mask's file, of the same stem.
        source: Which folder of the run it is from, counted from 0.
    """

    image: Path
    mask: Path
    source: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """A file that can't be trained on, and why."""

    path: Path
    reason: str


def find_folders(root: Path) -> tuple[Path, Path]:
    """Find the photos' and the masks' folder: images/ and masks/, or DUTS's *-Image and *-Mask.

    Raises:
        DataError: Neither is there, or several.
    """
    if (root / "images").is_dir() and (root / "masks").is_dir():
        return root / "images", root / "masks"
    images, masks = sorted(root.glob("*-Image")), sorted(root.glob("*-Mask"))
    if len(images) == 1 and len(masks) == 1:
        return images[0], masks[0]
    raise DataError(
        f"{printable(root)}: has neither images/ and masks/ nor one *-Image and one *-Mask folder"
    )


def find_pairs(images: Path, masks: Path, source: int = 0) -> tuple[list[Pair], list[Fault]]:
    """Match photos and masks by stem, in the order of their names.

    Raises:
        DataError: A folder can't be read.
    """
    photos, photo_faults = _by_stem(images)
    truths, truth_faults = _by_stem(masks)
    faults = photo_faults + truth_faults
    faults += [Fault(photos[s], "no mask of this name") for s in sorted(photos.keys() - truths)]
    faults += [Fault(truths[s], "no photo of this name") for s in sorted(truths.keys() - photos)]
    both = sorted(photos.keys() & truths.keys())
    return [Pair(photos[s], truths[s], source) for s in both], faults


def _by_stem(folder: Path) -> tuple[dict[str, Path], list[Fault]]:
    try:
        files = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    except OSError as e:
        raise DataError(f"{printable(folder)}: {e.strerror}") from e
    found: dict[str, Path] = {}
    faults = []
    for path in files:
        if path.suffix.lower() not in SUFFIXES:
            faults.append(Fault(path, "not an image by its name"))
        elif path.stem in found:
            faults.append(Fault(path, f"same name as {printable(found[path.stem].name)}"))
        else:
            found[path.stem] = path
    return found, faults


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Read a photo upright, RGB, (H, W, 3) uint8.

    Raises:
        DataError: It can't be decoded.
    """
    return np.ascontiguousarray(_read(path, cv2.IMREAD_COLOR)[:, :, ::-1])


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a mask, (H, W) uint8.

    Raises:
        DataError: It can't be decoded.
    """
    return _read(path, cv2.IMREAD_GRAYSCALE)


def _read(path: Path, flags: int) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    except (OSError, cv2.error) as e:
        raise DataError(f"{printable(path)}: can't be read") from e
    if image is None:
        raise DataError(f"{printable(path)}: can't be decoded as an image")
    return np.asarray(image, np.uint8)


def find_fault(pair: Pair, ignore_value: int | None) -> Fault | None:
    """Decode a pair and say what is wrong with it."""
    try:
        photo = read_photo(pair.image)
    except DataError:
        return Fault(pair.image, "can't be decoded as an image")
    try:
        mask = read_mask(pair.mask)
    except DataError:
        return Fault(pair.mask, "can't be decoded as an image")
    if photo.shape[:2] != mask.shape:
        (ph, pw), (mh, mw) = photo.shape[:2], mask.shape
        return Fault(pair.mask, f"is {mw}×{mh}, its photo {pw}×{ph}")
    known = mask if ignore_value is None else mask[mask != ignore_value]
    if not (known > 127).any():
        return Fault(pair.mask, "empty: nothing is marked as the subject")
    return None


def check_pairs(
    pairs: Sequence[Pair],
    faults: Iterable[Fault],
    *,
    ignore_value: int | None,
    skip_bad: bool,
    report: Path,
) -> list[Pair]:
    """Decode every pair, and report each file at fault.

    Args:
        pairs: What was found.
        faults: What was amiss in finding it.
        ignore_value: Mask value that means unknown.
        skip_bad: Go on without the pairs at fault.
        report: Text file that gets one line for each fault, if there are any.

    Returns:
        The sound pairs.

    Raises:
        DataError: Faults without ``skip_bad``, or no pair left.
    """
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda p: find_fault(p, ignore_value), pairs))
    everything = [*faults, *(f for f in found if f is not None)]
    sound = [p for p, f in zip(pairs, found, strict=True) if f is None]
    if everything:
        lines = [f"{printable(f.path)}: {f.reason}" for f in everything]
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text("\n".join(lines) + "\n", encoding="utf-8")
        for line in lines[:20]:
            logger.warning(line)
        summary = f"{len(lines)} files at fault, all named in {printable(report)}"
        if not skip_bad:
            raise DataError(f"{summary}; mend them, or go on without them by --skip-bad")
        logger.warning(summary)
    if not sound:
        raise DataError("no pair of photo and mask to train on")
    return sound
