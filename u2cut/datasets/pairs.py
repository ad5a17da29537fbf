"""Data sets on disk: photos paired with their masks, by name.

A set is a folder that holds ``images`` and ``masks``, or DUTS's own ``NAME-Image`` and
``NAME-Mask``. A photo and its mask share a stem; their formats are free.
"""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from u2cut.errors import DataError, printable
from u2cut.files.address import address_of

SKIPPING: Final = "repair them, or go on without them by --skip-bad"
_LITTER: Final = frozenset({"thumbs.db", "desktop.ini"})


@dataclass(frozen=True)
class Pair:
    """A photo and its mask.

    Attributes:
        name: ``SET/stem``, as lists of names spell it. Where two sets have one name, the folder
            around each is put before it.
        image: The photo's file.
        mask: The mask's file.
    """

    name: str
    image: Path
    mask: Path

    @property
    def group(self) -> str:
        """The set's name."""
        return self.name.rpartition("/")[0]

    @property
    def stem(self) -> str:
        """The common stem of the two files."""
        return self.image.stem


@dataclass(frozen=True)
class Scan:
    """The result of a search.

    Attributes:
        pairs: Complete pairs, ordered by folder, then by stem.
        problems: One line for each file that can't be paired: which, and why.
    """

    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]


def find_pairs(roots: Sequence[Path]) -> list[Pair]:
    """Find every pair in some folders.

    Args:
        roots: Folders that are a set, or hold sets at any depth.

    Raises:
        DataError: A folder holds no set, or a file has no partner; all of them are named.
    """
    found = scan(roots)
    refuse(found.problems)
    return list(found.pairs)


def scan(roots: Sequence[Path]) -> Scan:
    """Find every pair in some folders, and every file that has no partner.

    Args:
        roots: Folders that are a set, or hold sets at any depth.

    Raises:
        DataError: A folder is missing or holds no set.
    """
    sets = [found for root in roots for found in _sets(root)]
    count = Counter(group for _, _, _, group in sets)
    parts = [
        scan_folders(images, masks, f"{outer}/{group}" if count[group] > 1 else group)
        for images, masks, outer, group in sets
    ]
    return Scan(
        pairs=tuple(pair for part in parts for pair in part.pairs),
        problems=tuple(problem for part in parts for problem in part.problems),
    )


def scan_folders(images: Path, masks: Path, group: str | None = None) -> Scan:
    """Pair the files of a folder of photos with those of a folder of masks.

    Args:
        images: Folder of photos.
        masks: Folder of masks.
        group: The set's name; by default the name of the folder around ``images``.

    Raises:
        DataError: A folder is missing or can't be read.
    """
    group = group or images.resolve().parent.name
    problems: list[str] = []
    photos = files_by_stem(images, problems)
    truths = files_by_stem(masks, problems)
    inner = sorted(path for folder in (images, masks) for path in folder.iterdir() if path.is_dir())
    problems += [f"{printable(path)}: a folder among the files of a set" for path in inner]
    problems += [f"{printable(photos[s])}: no mask" for s in sorted(photos.keys() - truths.keys())]
    problems += [f"{printable(truths[s])}: no photo" for s in sorted(truths.keys() - photos.keys())]
    shared = sorted(photos.keys() & truths.keys())
    return Scan(
        pairs=tuple(Pair(f"{group}/{stem}", photos[stem], truths[stem]) for stem in shared),
        problems=tuple(problems),
    )


def refuse(problems: Sequence[str], remedy: str = "") -> None:
    """Raise a ``DataError`` that lists the problems, if there are any.

    Args:
        problems: One line each.
        remedy: What to do about them.
    """
    if problems:
        count = f"{len(problems)} invalid file{'s' if len(problems) > 1 else ''}"
        listed = "\n  ".join([f"the data has {count}:", *problems])
        raise DataError(f"{listed}\n{remedy}".rstrip())


def read_names(path: Path) -> frozenset[str]:
    """Read a list of names: ``SET/stem``, one a line; ``#`` starts a comment line.

    Raises:
        DataError: The list can't be read, or is empty.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines()]
    except OSError as e:
        raise DataError.from_os(e, path, "can't read this list of names") from e
    except UnicodeDecodeError as e:
        raise DataError("this list of names isn't UTF-8", path=path) from e
    names = frozenset(line for line in lines if line and not line.startswith("#"))
    if not names:
        raise DataError("this list names nothing", path=path)
    return names


def restrict(pairs: Iterable[Pair], names: frozenset[str]) -> list[Pair]:
    """Keep the pairs that a list names.

    Raises:
        DataError: The list names pairs that aren't there; all of them are named.
    """
    kept = [pair for pair in pairs if pair.name in names]
    refuse([f"{printable(n)}: not in the data" for n in sorted(names - {p.name for p in kept})])
    return kept


def _sets(root: Path) -> list[tuple[Path, Path, str, str]]:
    """The sets in a folder as (images, masks, name of the folder around, name), by path."""
    if address := address_of(root):
        raise DataError(
            "data sets are read from a disk", path=address, remedy="copy it to this machine first"
        )
    if not os.path.isdir(root):  # noqa: PTH112  (pathlib's raises, for one, at too long a name)
        raise DataError("no such folder", path=root)
    found = []
    for folder, below, _ in os.walk(root):
        here = _sets_in(Path(folder), below)
        found += here
        taken = {path.name for images, masks, *_ in here for path in (images, masks)}
        below[:] = sorted(name for name in below if name not in taken)
    if not found:
        raise DataError(
            "no data set in it",
            path=root,
            remedy="a set is a folder with images/ and masks/ (or NAME-Image/ and NAME-Mask/)",
        )
    return found


def _sets_in(folder: Path, below: Sequence[str]) -> list[tuple[Path, Path, str, str]]:
    """The sets whose two folders lie directly in ``folder``."""
    here = folder.resolve()
    spelled = {name.lower(): name for name in below}
    sets = []
    for name in sorted(spelled):
        stem = name.removesuffix("-image")
        if name == "images":
            partner, outer, group = "masks", here.parent.name, here.name
        elif stem != name:
            partner, outer, group = f"{stem}-mask", here.name, spelled[name][: len(stem)]
        else:
            continue
        if partner in spelled:
            sets.append((folder / spelled[name], folder / spelled[partner], outer, group))
    return sets


def files_by_stem(folder: Path, problems: list[str]) -> dict[str, Path]:
    """List the visible files of a folder by stem; a stem's second file goes to ``problems``.

    Raises:
        DataError: The folder can't be read.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as e:
        raise DataError.from_os(e, folder, "can't read this folder") from e
    files: dict[str, Path] = {}
    for path in entries:
        if path.name.startswith(".") or path.name.lower() in _LITTER:
            continue
        if path.is_dir():
            continue
        if path.stem in files:
            problems.append(f"{printable(path)}: same stem as {printable(files[path.stem].name)}")
        else:
            files[path.stem] = path
    return files
