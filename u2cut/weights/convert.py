"""ONNX files become .safetensors files in the cache, once each."""

import hashlib
from pathlib import Path

from u2cut.console import logger
from u2cut.errors import WeightsError, printable
from u2cut.files.temporary import atomic_write
from u2cut.weights import cache, notes


def converted(source: Path) -> Path:
    """Return the converted copy of an ONNX file, made if it isn't in the cache yet.

    Where the cache takes no file, the source itself is returned, with a warning: it is then read
    anew each time.

    Raises:
        WeightsError: The source is unreadable, or holds another network.
    """
    try:
        digest = notes.hash_file(source)
    except OSError as e:
        raise WeightsError.from_os(e, source) from e
    try:
        return convert(source, digest, f"converted from {printable(source.absolute())}")
    except OSError as e:
        reason: Exception = cache.unwritable(e)
    except cache.CacheError as e:
        reason = e
    logger.warning("%s is converted anew each time: %s", printable(source), reason)
    return source


def convert(source: Path, sha256: str, origin: str) -> Path:
    """Write the network of an ONNX file into the cache, whole or not at all; return where.

    Args:
        source: The ONNX file.
        sha256: Its hash, under which the result is kept.
        origin: Where the source came from, for the note.

    Raises:
        WeightsError: The source holds another network, or the cache's folder is not writable.
        OSError: The disk doesn't take the file.
    """
    target = cache.converted_path(sha256)
    if _is_sound(target):
        return target
    with cache.lock(sha256):
        if _is_sound(target):
            return target  # another process was faster
        from safetensors.numpy import save

        from u2cut.weights.onnx_import import read_onnx

        content = save(read_onnx(source), metadata={"converted_from": sha256})
        atomic_write(target, content)
        digest = hashlib.sha256(content).hexdigest()
        notes.write_note(target, notes.Note.of(target, digest, origin))
    return target


def _is_sound(target: Path) -> bool:
    return target.is_file() and cache.conversion_fault(target) is None
