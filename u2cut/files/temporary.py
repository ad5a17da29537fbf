"""Files written whole or not at all.

A temporary file lies beside its target under an unguessable name, locked by its writer. The lock
ends with the process, whatever ends that. So a temporary file that can be locked is one of a
process that has ended, and may be deleted.
"""

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

HAS_LOCKS = True
try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing of others taken away
    HAS_LOCKS = False

_NAME = re.compile(r"\.[0-9a-f]{16}\.u2cut-part")
_BINARY = getattr(os, "O_BINARY", 0)
_CAREFUL = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def lock(fd: int) -> bool | None:
    """Lock a file while it is open: False if another has it, None if there are no locks."""
    if not HAS_LOCKS:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None  # not on this file system
    return True


class TemporaryFile:
    """A new file in a folder; gone again when its context ends.

    Args:
        folder: Where the target is.

    Raises:
        OSError: It can't be made.
    """

    def __init__(self, folder: str) -> None:
        while True:
            self.path = Path(folder) / f".{secrets.token_hex(8)}.u2cut-part"
            # Not mkstemp: the umask decides who may read the result.
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY
            self._fd = os.open(self.path, flags, 0o666)
            if self._is_ours():
                return
            os.close(self._fd)

    def _is_ours(self) -> bool:
        """Lock it, unless a run that tidies up came in between and took it for an ended one's."""
        return lock(self._fd) is not False and (not HAS_LOCKS or os.fstat(self._fd).st_nlink > 0)

    def fill(self, data: bytes | Callable[[BinaryIO], object]) -> None:
        """Write down to the disk: a name that is given to the bytes then holds them all.

        Args:
            data: The bytes, or what writes them to a stream.
        """
        if callable(data):
            with os.fdopen(os.dup(self._fd), "wb") as stream:
                data(stream)
        else:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        os.fsync(self._fd)
        if not HAS_LOCKS:
            self._close()  # an open file can't be renamed on Windows

    def publish(self, path: Path, *, overwrite: bool) -> None:
        """Give what was filled its name.

        Args:
            path: The name, in the same folder.
            overwrite: Replace what has this name.

        Raises:
            FileExistsError: The name is taken.
            OSError: The system refuses.
        """
        if overwrite:
            self.path.replace(path)
            return
        try:
            path.hardlink_to(self.path)
        except FileExistsError:
            raise
        except OSError:
            # No hard links here (FAT, some network folders): next best.
            if path.is_symlink() or path.exists():
                raise FileExistsError(errno.EEXIST, "exists already") from None
            self.path.replace(path)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Take the file away, if it is there still."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            if not HAS_LOCKS:
                self._close()
            self.remove()
        finally:
            self._close()


def atomic_write(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file whole or not at all, in the place of what has its name; make its folder.

    Args:
        path: The file.
        data: Its bytes, or what writes them to a stream.

    Raises:
        OSError: It can't be written; what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(str(path.parent))
    with TemporaryFile(str(path.parent)) as part:
        part.fill(data)
        part.publish(path, overwrite=True)
    sync_folder(str(path.parent))


def clear_abandoned(folder: str) -> int:
    """Delete the temporary files in a folder whose writers have ended; return how many."""
    if not HAS_LOCKS:
        return 0
    try:
        with os.scandir(folder) as entries:
            found = [entry.path for entry in entries if _NAME.fullmatch(entry.name)]
    except OSError:
        return 0
    return sum(map(_cleared, found))


def _cleared(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDWR | _CAREFUL)
    except OSError:
        return False  # somebody else's, or no file
    try:
        if not lock(fd):
            return False
        Path(path).unlink()
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def sync_folder(folder: str) -> None:
    """Put a folder's new names on the disk, where the system can do that."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(fd)
    finally:
        os.close(fd)
