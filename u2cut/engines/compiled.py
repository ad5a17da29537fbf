"""The cache of compiled networks: which file is whose, written whole, checked when read."""

import hashlib
import os
import tempfile
from pathlib import Path

import platformdirs

from u2cut.errors import OutputError, WeightsError
from u2cut.stdio import logger, printable

# Raised whenever what is compiled changes while the weights and the versions don't.
_FORMAT = 1
_DIGEST_BYTES = 32


def folder() -> Path:
    """Return where compiled networks are kept: ``engines`` in U2CUT_HOME or the cache folder."""
    home = os.environ.get("U2CUT_HOME") or platformdirs.user_cache_dir("u2cut", appauthor=False)
    return Path(home).expanduser().absolute() / "engines"


def entry(weights: Path, *, size: int, precision: str, version: str) -> Path:
    """Return where a compiled network belongs.

    Args:
        weights: The weight file; its content names the entry.
        size: Side of the network's inputs.
        precision: What it computes in.
        version: The compiler's.

    Raises:
        WeightsError: The weight file can't be read.
    """
    try:
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise WeightsError(f"{printable(weights)}: {e.strerror or e}") from e
    return folder() / f"{digest[:32]}-{size}-{precision}-{version}-{_FORMAT}.bin"


def read(path: Path) -> bytes | None:
    """Return what `write` kept; None if there is nothing, or if it is no longer the same."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() == digest:
        return body
    logger.info("%s is damaged: compiling again", printable(path))
    return None


def write(path: Path, body: bytes) -> None:
    """Keep a compiled network, whole or not at all.

    Raises:
        OutputError: The cache can't be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".compiled-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(body).digest())
                file.write(body)
            os.replace(name, path)  # noqa: PTH105
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as e:
        raise OutputError(
            f"can't write in {printable(path.parent)}: {e.strerror or e}; "
            "make room there, or set U2CUT_HOME to another folder"
        ) from e
