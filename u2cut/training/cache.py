"""Photos and masks, decoded, checked and squashed once, in files that every process maps.

The operating system keeps mapped files in memory while there is room and on disk when there
isn't, so one mechanism serves small and large sets, several workers and several GPUs.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from u2cut.console import progress
from u2cut.cores import available_cores
from u2cut.datasets.masks import SUBJECT_ABOVE, read_frame, read_pair
from u2cut.datasets.pairs import Pair
from u2cut.errors import DataError, OutputError
from u2cut.saliency import shrink
from u2cut.training.checkpoint import write

Bytes = NDArray[np.uint8]

VALID: Final = 255

_CHANNELS: Final[dict[str, tuple[int, ...]]] = {"photos": (3,), "masks": (), "valid": ()}


@dataclass
class Cache:
    """Squares of one size, mapped when first touched (and again in each worker process).

    Attributes:
        path: What the names of its files begin with.
        size: Side of the squares in pixels.
        kept: Which of the entries it was made from are in it; the others were invalid.
        problems: One line for each invalid entry: which file, and why.
    """

    path: Path
    size: int
    kept: list[int]
    problems: list[str]
    _maps: dict[str, Bytes] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.kept)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}

    def _part(self, part: str) -> Bytes:
        if part not in self._maps:
            shape = (len(self), self.size, self.size, *_CHANNELS[part])
            self._maps[part] = np.memmap(_file(self.path, part), np.uint8, mode="r", shape=shape)
        return self._maps[part]

    def photo(self, index: int) -> Bytes:
        """Return a photo, RGB, (S, S, 3) uint8."""
        return np.asarray(self._part("photos")[index])

    def mask(self, index: int) -> Bytes:
        """Return a mask, (S, S) uint8."""
        return np.asarray(self._part("masks")[index])

    def valid(self, index: int) -> Bytes:
        """Return 255 where the mask is known, less where some of it isn't, (S, S) uint8."""
        return np.asarray(self._part("valid")[index])


def read_example(pair: Pair, ignore: int | None) -> tuple[Bytes, Bytes, Bytes]:
    """Read a photo and its mask, and check that there is something to learn from them.

    Args:
        pair: The files.
        ignore: Mask value that means unknown.

    Returns:
        Photo (H, W, 3), mask (H, W), and 255 where the mask is known, else 0, (H, W).

    Raises:
        DataError: They can't be trained on; the message names the file and says why.
    """
    frame, mask = read_pair(pair)
    valid = np.full_like(mask, VALID)
    if ignore is not None:
        valid[mask == ignore] = 0
    if not ((mask > SUBJECT_ABOVE) & (valid > 0)).any():
        raise DataError("empty, nothing is marked as the subject", path=pair.mask)
    return frame.image, mask, valid


def cache_pairs(
    folder: Path,
    pairs: Sequence[Pair],
    size: int,
    ignore: int | None,
    *,
    unlabelled: Sequence[Path] = (),
    quiet: bool = False,
) -> Cache:
    """Decode pairs into ``folder``, unless they lie there already.

    Args:
        folder: Where the files go.
        pairs: The pairs; invalid ones are left out, and told in the result.
        size: Side of the squares in pixels.
        ignore: Mask value that means unknown.
        unlabelled: Photos that come after the pairs, with a mask of which nothing is known.
        quiet: Show no progress.

    Raises:
        OutputError: The files can't be written.
    """
    files = [file for pair in pairs for file in (pair.image, pair.mask)]
    count = len(pairs) + len(unlabelled)

    def read(index: int) -> tuple[Bytes, ...]:
        if index < len(pairs):
            return read_example(pairs[index], ignore)
        image = read_frame(unlabelled[index - len(pairs)]).image
        nothing = np.zeros(image.shape[:2], np.uint8)
        return image, nothing, nothing

    settings, parts = f"{size} {ignore}", tuple(_CHANNELS)
    return _build(folder, [*files, *unlabelled], settings, parts, read, count, quiet=quiet)


def cache_photos(folder: Path, photos: Sequence[Path], size: int, *, quiet: bool = False) -> Cache:
    """Decode photos that have no masks, likewise."""

    def read(index: int) -> tuple[Bytes, ...]:
        return (read_frame(photos[index]).image,)

    return _build(folder, photos, str(size), ("photos",), read, len(photos), quiet=quiet)


def _build(
    folder: Path,
    files: Sequence[Path],
    settings: str,
    parts: Sequence[str],
    read: Callable[[int], tuple[Bytes, ...]],
    count: int,
    *,
    quiet: bool,
) -> Cache:
    size = int(settings.split()[0])
    path = folder / _fingerprint(files, settings)
    index = _file(path, "json")
    try:
        if not index.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(_file(path, "lock")):  # runs that begin together read the photos once
                if not index.exists():
                    _decode(path, size, parts, read, count, quiet=quiet)
        return Cache(path, size, **json.loads(index.read_text("utf-8")))
    except OSError as e:
        raise OutputError.from_os(e, folder, remedy="--cache names another place") from e


def _decode(
    path: Path,
    size: int,
    parts: Sequence[str],
    read: Callable[[int], tuple[Bytes, ...]],
    count: int,
    *,
    quiet: bool,
) -> None:
    """Write the squares, one file a part, and at the end the index, which says that all is there.

    Raises:
        OSError: They can't be written.
    """

    def square(number: int) -> list[Bytes] | str:
        try:
            return [(shrink(pixels, size) + 0.5).astype(np.uint8) for pixels in read(number)]
        except DataError as e:
            return str(e)

    kept: list[int] = []
    problems: list[str] = []
    with ExitStack() as stack:
        streams = [stack.enter_context(_file(path, part).open("wb")) for part in parts]
        pool = stack.enter_context(ThreadPoolExecutor(available_cores()))
        bar = stack.enter_context(progress(count, unit="photo", label="reading", quiet=quiet))
        for number, squares in enumerate(pool.map(square, range(count))):
            bar.update()
            if isinstance(squares, str):
                problems.append(squares)
                continue
            kept.append(number)
            for stream, pixels in zip(streams, squares, strict=True):
                stream.write(pixels.tobytes())
    text = json.dumps({"kept": kept, "problems": problems})
    write(_file(path, "json"), text)


def _file(path: Path, part: str) -> Path:
    return path.with_name(f"{path.name}.{part}")


def _fingerprint(files: Sequence[Path], settings: str) -> str:
    """Return a name for what these files hold now, seen in this way."""
    lines = [settings]
    for file in files:
        try:
            status = file.stat()
            lines.append(f"{file.resolve()} {status.st_size} {status.st_mtime_ns}")
        except OSError:
            lines.append(f"{file} missing")
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
