"""A larger network's maps as what a smaller one learns: the targets of ``--distill``.

The teacher sees each photo in several views. Where there is a mask, the view nearest to it is
the target; where there is none, the view that is least uncertain. A map is sharpened, since a
network that learns grey learns to be greyer still; a photo without one sure subject keeps the
map as it is, so that the smaller network learns where to say little.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from u2cut.console import progress
from u2cut.engines.predictor import Predictor, find_weights
from u2cut.errors import OutputError
from u2cut.options import NetworkOptions
from u2cut.saliency import to_saliency, uncertainty
from u2cut.training.cache import VALID, Cache
from u2cut.weights import as_file
from u2cut.weights.notes import hash_file

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

# IoU with the mask from which the first view will do, and below which the mask is kept instead.
CLOSE: Final = 0.92
TRUSTED: Final = 0.7
# Uncertainty (saliency.uncertainty) of a map that needs no other view, and of one without a
# sure subject.
SURE: Final = 0.05
UNSURE: Final = 0.3


@dataclass
class Targets:
    """The target of each photo of a cache, mapped when first touched.

    Attributes:
        path: Its file.
        size: Side of the squares in pixels.
        count: How many there are.
    """

    path: Path
    size: int
    count: int
    _map: Bytes | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_map": None}

    def target(self, index: int) -> Bytes:
        """Return what is learnt from a photo, 255 for the subject, (S, S) uint8."""
        if self._map is None:
            shape = (self.count, self.size, self.size)
            self._map = np.memmap(self.path, np.uint8, mode="r", shape=shape)
        return np.asarray(self._map[index])


def options_of(weights: str, device: str) -> NetworkOptions:
    """Return the options of the teacher that ``--distill`` names."""
    path = as_file(weights)
    if path is None:
        return NetworkOptions(model=weights, device=device)
    return NetworkOptions(weights=path, device=device)


def teach(
    cache: Cache,
    weights: str,
    device: str,
    *,
    wanted: NDArray[np.bool_] | None = None,
    quiet: bool = False,
) -> Targets:
    """Let a teacher see the photos of a cache, unless its maps lie there already.

    What was written before a stop is kept: the next run goes on after it.

    Args:
        cache: The photos, and the masks that there are.
        weights: The teacher, by name or file.
        device: Where it runs.
        wanted: Photos that it sees, (N,); the others' target is their mask. All by default.
        quiet: Show no progress.

    Raises:
        WeightsError: The teacher's weights are not available.
        OutputError: The maps can't be written.
    """
    options = options_of(weights, device)
    teacher = hash_file(find_weights(options, quiet=quiet).path)[:16]
    wanted = np.ones(len(cache), bool) if wanted is None else wanted
    which = "" if wanted.all() else f".{zlib.crc32(np.packbits(wanted).tobytes()):08x}"
    path = cache.path.with_name(f"{cache.path.name}.{teacher}{which}.targets")
    try:
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                part = path.with_suffix(".part")
                _write(part, wanted, cache, options, quiet=quiet)
                part.replace(path)
    except OSError as e:
        raise OutputError.from_os(e, path.parent, remedy="--cache names another place") from e
    return Targets(path, cache.size, len(cache))


def _write(
    part: Path, wanted: NDArray[np.bool_], cache: Cache, options: NetworkOptions, *, quiet: bool
) -> None:
    """Append the targets that ``part`` doesn't hold yet.

    Raises:
        OSError: It can't be written.
    """
    network, square = Predictor(options, quiet=quiet), cache.size * cache.size
    with (
        part.open("ab") as stream,
        progress(len(cache), unit="photo", label="teaching", quiet=quiet) as bar,
    ):
        done = stream.tell() // square
        stream.truncate(done * square)
        bar.update(done)
        for index in range(done, len(cache)):
            photo, target, valid = cache.photo(index), cache.mask(index), cache.valid(index)
            if wanted[index]:
                maps = [network.fused_map(photo)]
                if not enough(maps[0], target, valid == VALID):
                    maps += network.views(photo)
                target = choose(maps, target, valid == VALID)
            stream.write(target.tobytes())
            stream.flush()
            bar.update()


def enough(fused: Floats, mask: Bytes, valid: NDArray[np.bool_]) -> bool:
    """Tell whether a photo's first map makes other views needless.

    Args:
        fused: The teacher's fused map, (s, s) float32.
        mask: (S, S) uint8.
        valid: Where the mask is known, (S, S); nowhere, if the photo has none.
    """
    saliency = to_saliency(fused)
    if saliency is None:
        return False
    if valid.any():
        return _iou(_fit(saliency, mask.shape[0]), mask, valid) >= CLOSE
    return uncertainty(saliency) <= SURE


def choose(maps: Sequence[Floats], mask: Bytes, valid: NDArray[np.bool_]) -> Bytes:
    """Return the target of a photo.

    Args:
        maps: The teacher's fused maps of it, (s, s) float32 each.
        mask: (S, S) uint8.
        valid: Where the mask is known, (S, S); nowhere, if the photo has none.

    Returns:
        (S, S) uint8, 255 for the subject.
    """
    size = mask.shape[0]
    seen = [saliency for saliency in map(to_saliency, maps) if saliency is not None]
    if not valid.any():
        best = min(seen, key=uncertainty, default=None)
        if best is None or uncertainty(best) > UNSURE:
            return _bytes(_fit(maps[0], size))
        return _bytes(sharpened(_fit(best, size)))
    fitted = [_fit(saliency, size) for saliency in seen]
    nearest = max(fitted, key=lambda m: _iou(m, mask, valid), default=None)
    if nearest is None:
        return mask
    target = _bytes(sharpened(nearest))
    if _iou(nearest, mask, valid) < TRUSTED:
        target[valid] = mask[valid]
    return target


def sharpened(saliency: Floats) -> Floats:
    """Double the log-odds of a map in [0, 1]: .5 stays, .8 becomes .94."""
    squared, rest = saliency**2, (1 - saliency) ** 2
    sharp: Floats = squared / (squared + rest)
    return sharp


def mix(target: Bytes, mask: Bytes, valid: Bytes, share: float) -> Bytes:
    """Weigh a target against the mask, where that is known.

    Cross-entropy is linear in what is to be learnt, so this is the weighted sum of the losses
    to the teacher and to the mask.

    Args:
        target: (S, S) uint8.
        mask: (S, S) uint8.
        valid: 255 where the mask is known, (S, S) uint8.
        share: The teacher's, in [0, 1].
    """
    own = np.where(valid == VALID, np.float32(1 - share), np.float32(0))
    mixed: Bytes = (own * mask + (1 - own) * target + 0.5).astype(np.uint8)
    return mixed


def _fit(saliency: Floats, size: int) -> Floats:
    if saliency.shape[0] == size:
        return saliency
    grown = cv2.resize(saliency, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(grown, np.float32)


def _iou(saliency: Floats, mask: Bytes, valid: NDArray[np.bool_]) -> float:
    ours, truth = (saliency > 0.5) & valid, (mask > 127) & valid
    union = np.count_nonzero(ours | truth)
    return np.count_nonzero(ours & truth) / union if union else 0.0


def _bytes(saliency: Floats) -> Bytes:
    return (np.clip(saliency, 0, 1) * 255 + 0.5).astype(np.uint8)
