"""Photos and masks, decoded and squashed once, in files that every process maps.

The operating system keeps mapped files in memory while there is room and on disk when there
isn't, so one mechanism serves both small and large sets, several workers and several GPUs.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from u2cut.errors import OutputError
from u2cut.saliency import shrink
from u2cut.stdio import printable, progress
from u2cut.training.pairs import Pair, read_mask, read_photo

Bytes = NDArray[np.uint8]


@dataclass
class Cache:
    """Squares of one size, mapped when first touched (and again in each worker process).

    Attributes:
        path: The files' common beginning.
        size: Side of the squares in pixels.
        count: How many there are.
        masked: Whether there are masks, or photos only.
    """

    path: Path
    size: int
    count: int
    masked: bool = True

    def __post_init__(self) -> None:
        self._maps: dict[str, Bytes] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_maps": {}}

    def _map(self, part: str, channels: tuple[int, ...]) -> Bytes:
        if part not in self._maps:
            shape = (self.count, self.size, self.size, *channels)
            self._maps[part] = np.memmap(self.file(part), np.uint8, mode="r", shape=shape)
        return self._maps[part]

    def file(self, part: str) -> Path:
        """Return the file of one part: photos, masks or known."""
        return self.path.with_name(f"{self.path.name}.{part}")

    def photo(self, index: int) -> Bytes:
        """Return a photo, RGB, (S, S, 3) uint8."""
        return self._map("photos", (3,))[index]

    def mask(self, index: int) -> Bytes:
        """Return a mask, (S, S) uint8."""
        return self._map("masks", ())[index]

    def known(self, index: int) -> Bytes:
        """Return 255 where the mask is known and less towards where it isn't, (S, S) uint8."""
        return self._map("known", ())[index]


def build_cache(
    folder: Path,
    pairs: Sequence[Pair] | Sequence[Path],
    size: int,
    *,
    ignore_value: int | None = None,
    label: str = "decoding",
) -> Cache:
    """Decode into ``folder``, unless the same photos lie there already.

    Args:
        folder: Where the files go.
        pairs: Pairs, or photos alone (backgrounds).
        size: Side of the squares in pixels.
        ignore_value: Mask value that means unknown.
        label: What the progress bar is called.

    Raises:
        DataError: A photo can't be decoded.
        OutputError: The files can't be written.
    """
    files = [f for p in pairs for f in ((p.image, p.mask) if isinstance(p, Pair) else (p,))]
    masked = bool(pairs) and isinstance(pairs[0], Pair)
    key = "\n".join(f"{f.resolve()} {f.stat().st_size} {f.stat().st_mtime_ns}" for f in files)
    digest = hashlib.sha256(f"{size} {ignore_value}\n{key}".encode()).hexdigest()[:16]
    cache = Cache(folder / digest, size, len(pairs), masked)
    parts = {"photos": 3, "masks": 1, "known": 1} if masked else {"photos": 3}
    if cache.file("done").exists():
        return cache

    def decode(entry: Pair | Path) -> list[Bytes]:
        photo = read_photo(entry.image if isinstance(entry, Pair) else entry)
        if not isinstance(entry, Pair):
            return [shrink(photo, size)]
        mask = read_mask(entry.mask)
        known = np.full_like(mask, 255)
        if ignore_value is not None:
            known[mask == ignore_value] = 0
        return [shrink(photo, size), shrink(mask, size), shrink(known, size)]

    try:
        folder.mkdir(parents=True, exist_ok=True)
        streams = [cache.file(part).open("wb") for part in parts]
        with ThreadPoolExecutor() as pool, progress(len(pairs), unit="photo", label=label) as bar:
            for squares in pool.map(decode, pairs):
                for stream, square in zip(streams, squares, strict=True):
                    stream.write(square.tobytes())
                bar.update()
        for stream in streams:
            stream.close()
        cache.file("done").touch()
    except OSError as e:
        raise OutputError(f"{printable(folder)}: {e.strerror}; --cache names another place") from e
    return cache
