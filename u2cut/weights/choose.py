"""A name or a path becomes a local file of weights that is what it should be."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from u2cut.errors import WeightsError, system_reason
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
    _require_file(path)
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
    return LocalWeights(
        spec.name, _cached(spec) or _fetched(spec, offline=offline, quiet=quiet), spec.input_size
    )


def bring_in(file: Path, name: str | None = None) -> LocalWeights:
    """Put a file that was fetched by hand into the cache, recognised by its SHA-256.

    Args:
        file: The file.
        name: What it must be; None takes any that the registry knows.

    Raises:
        WeightsError: It can't be read, or isn't what the registry knows.
    """
    known = registry.OFFICIAL.values() if name is None else [registry.spec(name)]
    _require_file(file)
    try:
        digest = cache.sha256(file)
    except OSError as e:
        raise WeightsError(f"{printable(file)}: {system_reason(e)}") from e
    for spec in known:
        if spec.urls and spec.sha256 == digest:
            return LocalWeights(spec.name, cache.copy_in(spec, file), spec.input_size)
    raise WeightsError(
        f"{printable(file)} is not {name or 'one of ' + ', '.join(registry.OFFICIAL)}: its "
        f"SHA-256 is {digest}. Weights of your own need no import: --weights FILE"
    )


def _require_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as e:
        raise WeightsError(f"{printable(path)}: {system_reason(e)}") from e
    if not stat.S_ISREG(mode):
        raise WeightsError(f"{printable(path)}: not a file, so it can't hold weights")


def _find_best(*, offline: bool, quiet: bool) -> LocalWeights:
    spec = registry.spec(PREFERRED)
    try:
        path = _cached(spec) or _fetched(spec, offline=offline, quiet=quiet, hurried=True)
    except WeightsError as e:
        logger.warning(
            "using the bundled '%s' weights, which cut out less exactly: %s. For the best ones: "
            "u2cut weights download %s",
            registry.BUNDLED,
            str(e).splitlines()[0],
            PREFERRED,
        )
        return find(registry.BUNDLED)
    return LocalWeights(spec.name, path, spec.input_size)


def _cached(spec: registry.WeightSpec) -> Path | None:
    """Return the cached file when it is sound; None when it must be fetched (again)."""
    if not cache.is_cached(spec):
        return None
    fault = cache.fault(spec)
    if fault is None:
        return cache.path_of(spec)
    logger.warning("%s is damaged (%s)", printable(cache.path_of(spec)), fault)
    return None


def _fetched(
    spec: registry.WeightSpec, *, offline: bool, quiet: bool, hurried: bool = False
) -> Path:
    if offline:
        raise WeightsError(
            f"no sound copy of {spec.name} is in {printable(cache.folder())}, u2cut is offline\n"
            f"Go online once for `u2cut weights download {spec.name}`, or fetch the file elsewhere "
            "and bring it in with `u2cut weights import FILE`"
        )
    from u2cut.weights import download

    limits = download.HURRIED if hurried else download.PATIENT
    return download.fetch(spec, limits=limits, quiet=quiet)


def _offline_by_environment() -> bool:
    return os.environ.get("U2CUT_OFFLINE", "").lower() not in ("", "0", "false", "no")
