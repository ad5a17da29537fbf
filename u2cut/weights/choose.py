"""A name or a path becomes a local file of weights that is what it should be."""

import os
from dataclasses import dataclass
from pathlib import Path

from u2cut.errors import WeightsError
from u2cut.stdio import logger, printable
from u2cut.weights import cache, registry
from u2cut.weights.metadata import input_size, read_metadata

AUTO = "auto"
PREFERRED = "u2net"


@dataclass(frozen=True, slots=True)
class LocalWeights:
    """A file of weights on this machine.

    Attributes:
        name: Name in the registry, or the file's own.
        path: The file.
        input_size: Side of the square that the network sees, in pixels.
    """

    name: str
    path: Path
    input_size: int


def local(path: Path) -> LocalWeights:
    """Take any file; ``load_network`` judges what is in it.

    Raises:
        WeightsError: There is no such file, or its header names an impossible input size.
    """
    if not path.is_file():
        raise WeightsError(f"{printable(path)}: no such file of weights")
    size = input_size(read_metadata(path), path)
    return LocalWeights(path.name, path, size or registry.DEFAULT_INPUT_SIZE)


def find(name: str, *, offline: bool = False, quiet: bool = False) -> LocalWeights:
    """Return the weights of this name, fetched if need be.

    Args:
        name: One of the registry's, or "auto": u2net if it is here or can be fetched, else the
            bundled ones, with a warning.
        offline: Stay away from the network; U2CUT_OFFLINE=1 says the same.
        quiet: Show no progress.

    Raises:
        WeightsError: The name is unknown, or the weights can't be had.
    """
    offline = offline or _offline_by_environment()
    if name == AUTO:
        return _find_best(offline=offline, quiet=quiet)
    spec = registry.spec(name)
    if spec.name == registry.BUNDLED:
        return LocalWeights(spec.name, registry.bundled_path(), spec.input_size)
    path = _cached(spec)
    if path is None:
        if offline:
            raise WeightsError(
                f"{name} is not in {printable(cache.folder())} and u2cut is offline; go online "
                "once for: u2cut weights download "
                f"{name}, or bring the file: u2cut weights import FILE"
            )
        from u2cut.weights import download

        path = download.fetch(spec, limits=download.PATIENT, quiet=quiet)
    return LocalWeights(spec.name, path, spec.input_size)


def _find_best(*, offline: bool, quiet: bool) -> LocalWeights:
    spec = registry.spec(PREFERRED)
    try:
        path = _cached(spec)
        if path is None:
            path = _fetch_in_a_hurry(spec, offline=offline, quiet=quiet)
    except WeightsError as e:
        logger.warning(
            "using the bundled '%s' weights, which cut less well than %s: %s",
            registry.BUNDLED,
            PREFERRED,
            e,
        )
        return find(registry.BUNDLED)
    return LocalWeights(spec.name, path, spec.input_size)


def _fetch_in_a_hurry(spec: registry.WeightSpec, *, offline: bool, quiet: bool) -> Path:
    remedy = f"to fetch it: u2cut weights download {spec.name}"
    if offline:
        raise WeightsError(f"{spec.name} is not here and u2cut is offline")
    if cache.failed_lately(spec):
        raise WeightsError(f"{spec.name} could not be fetched some minutes ago; {remedy}")
    from u2cut.weights import download

    try:
        return download.fetch(spec, limits=download.HURRIED, quiet=quiet)
    except WeightsError:
        cache.remember_failure(spec)
        raise


def _cached(spec: registry.WeightSpec) -> Path | None:
    """Return the cached file when it is sound; None when it must be fetched (again)."""
    path = cache.path_of(spec)
    if not cache.is_cached(spec):
        return None
    fault = cache.fault(spec, path)
    if fault is None:
        return path
    logger.warning("%s is damaged (%s)", printable(path), fault)
    return None


def _offline_by_environment() -> bool:
    return os.environ.get("U2CUT_OFFLINE", "").lower() not in ("", "0", "false", "no")
