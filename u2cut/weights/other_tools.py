"""Weights that other tools fetched already: rembg's and backgroundremover's folders, read only."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from u2cut.console import NOTICE, logger
from u2cut.errors import WeightsError, printable
from u2cut.weights import cache
from u2cut.weights.notes import mismatch
from u2cut.weights.registry import Form, WeightSpec

# backgroundremover takes a file of its own for each network.
_FILES = {"u2net": "U2NET_PATH", "u2netp": "U2NETP_PATH"}


def folders() -> list[Path]:
    """Return where rembg and backgroundremover keep their networks, as their variables say."""
    named = [os.environ.get(name, "") for name in ("U2NET_HOME", "REMBG_HOME")]
    data = os.environ.get("XDG_DATA_HOME", "")
    named += [os.path.join(data, ".u2net") if data else "", "~/.u2net"]  # noqa: PTH118
    return list(dict.fromkeys(_absolute(name) for name in named if name))


def find_elsewhere(spec: WeightSpec) -> Path | None:
    """Return a file of weights that another tool left, ready for use; None if there is none.

    A ``.pth`` is used where it is. An ONNX file is converted into the cache.
    """
    found = locate(spec)
    if found is None:
        return None
    path, form = found
    try:
        used = _usable(form, path)
    except cache.CacheError as e:
        logger.warning("%s is converted anew each time: %s", printable(path), e)
        used = path
    logger.log(NOTICE, "using %s of another tool: %s", spec.name, printable(path))
    return used


def locate(spec: WeightSpec) -> tuple[Path, Form] | None:
    """Return a file that another tool left, recognised by its SHA-256, and its form.

    What lies there under the right name and is something else is passed over with a reason at
    ``-v``, and never touched.
    """
    for path, form in _candidates(spec):
        try:
            if _is(form, path):
                return path, form
        except (OSError, WeightsError, RuntimeError) as e:  # RuntimeError: a loop of links
            logger.info("%s is passed over: %s", printable(path), getattr(e, "strerror", None) or e)
    return None


def _absolute(name: str) -> Path:
    return Path(os.path.expanduser(name)).absolute()  # noqa: PTH111 (fails without a home)


def _candidates(spec: WeightSpec) -> Iterator[tuple[Path, Form]]:
    for form in spec.forms:
        own = os.environ.get(_FILES.get(spec.name, ""), "")
        if own.endswith(f".{form.format}"):
            yield _absolute(own), form
    for folder in folders():
        for form in spec.forms:
            yield folder / form.filename, form


def _is(form: Form, path: Path) -> bool:
    """Return whether a file is this form; says so at -v if it is something else."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if not stat.S_ISREG(status.st_mode):
        reason: str | None = "not a file"
    elif cache.found_before(form, path, status):
        return True
    else:
        reason = mismatch(path, form.size, form.sha256)
    if reason is not None:
        logger.info("%s is passed over: %s", printable(path), reason)
        return False
    cache.note_found(form, path, status)
    return True


def _usable(form: Form, path: Path) -> Path:
    if form.format != "onnx":
        return path
    from u2cut.weights.convert import convert

    try:
        return convert(path, form.sha256, f"converted from {printable(path)}")
    except OSError as e:
        raise cache.unwritable(e) from e
