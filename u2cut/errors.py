"""Exit codes and the errors that a user can cause.

U2cutError
├── UsageError      2   options or arguments that contradict each other
├── InputError      3   a photo or a list that can't be read
├── OutputError     4   a result that can't be written
├── WeightsError    5   weights that are not available, or aren't what they claim to be
├── DeviceError     6   a device, engine or precision that was asked for and is missing
│   └── MissingDependencyError   a package that an extra brings
├── DataError       7   invalid training or evaluation data
├── PartialFailure  8   several inputs, some failed
└── Interrupted   130   stopped by the user
"""

import errno
import os
from enum import IntEnum
from typing import Final, Self

_LONGEST_PATH: Final = 4096  # characters, as on Linux
_OTHER_FOLDER = "choose a folder that you may write to with -o"
_OTHER_DISK = "make room, or choose another disk with -o"
# What helps, whatever file it was.
_REMEDIES: Final = {
    errno.EMFILE: "raise the limit with ulimit -n",
    errno.ENFILE: "the whole system has too many open files",
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room, the quota is used up",
    errno.EFBIG: "the limit on file sizes is in the way: ulimit -f",
}
# What helps where a result can't be written.
_OUTPUT_REMEDIES: Final = {
    errno.EEXIST: "--overwrite replaces it",
    errno.EMFILE: "raise the limit with ulimit -n, or use fewer --jobs",
    errno.EACCES: _OTHER_FOLDER,
    errno.EPERM: _OTHER_FOLDER,
    errno.EROFS: _OTHER_FOLDER,
    errno.ENOTDIR: "a file is where its folder should be",
    errno.ENOSPC: _OTHER_DISK,
    errno.EDQUOT: _OTHER_DISK,
}


class ExitCode(IntEnum):
    """The exit codes of the command line; see the table in README.md."""

    OK = 0
    BUG = 1
    USAGE = 2
    INPUT = 3
    OUTPUT = 4
    WEIGHTS = 5
    DEVICE = 6
    DATA = 7
    PARTIAL = 8
    INTERRUPTED = 130


class U2cutError(Exception):
    """Base of every error that u2cut raises on purpose.

    Its text says what is wrong, with which file, and what to do:
    ``<path>: <problem>; <remedy>``.

    Args:
        problem: What is wrong.
        path: The file, unless the problem names it; kept as text.
        remedy: What to do.
    """

    exit_code = ExitCode.BUG

    def __init__(
        self,
        problem: str = "",
        *,
        path: str | os.PathLike[str] | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.remedy = problem, remedy
        self.path = None if path is None else os.fspath(path)

    @classmethod
    def from_os(
        cls,
        error: OSError,
        path: str | os.PathLike[str] | None,
        problem: str = "",
        *,
        remedy: str | None = None,
    ) -> Self:
        """Return the error for what the system refused.

        Args:
            error: The system's.
            path: The file that it concerns.
            problem: What couldn't be done; the system's own words stand behind it.
            remedy: What to do; by default what helps against this kind of refusal, if anything.
        """
        reason = error.strerror or str(error)
        problem = f"{problem} ({reason})" if problem else reason
        return cls(problem, path=path, remedy=remedy or cls.remedy_for(error))

    @classmethod
    def remedy_for(cls, error: OSError) -> str | None:
        """Return what helps against a refusal of the system, if anything is known to."""
        return _REMEDIES.get(error.errno or 0)

    def __str__(self) -> str:
        where = f"{_shortened(printable(self.path))}: " if self.path else ""
        return f"{where}{self.problem}" + (f"; {self.remedy}" if self.remedy else "")


class UsageError(U2cutError):
    """Options or arguments that contradict each other."""

    exit_code = ExitCode.USAGE


class InputError(U2cutError):
    """A photo, or a list of photos, that can't be read."""

    exit_code = ExitCode.INPUT


class OutputError(U2cutError):
    """A result that can't be written."""

    exit_code = ExitCode.OUTPUT

    @classmethod
    def remedy_for(cls, error: OSError) -> str | None:
        """Return what helps against a refusal of the system, if anything is known to."""
        return _OUTPUT_REMEDIES.get(error.errno or 0) or super().remedy_for(error)


class WeightsError(U2cutError):
    """Weights that are not available, or aren't what they claim to be."""

    exit_code = ExitCode.WEIGHTS


class DeviceError(U2cutError):
    """A device, engine or precision that was asked for and is missing."""

    exit_code = ExitCode.DEVICE


class MissingDependencyError(DeviceError):
    """A package that one of u2cut's extras brings isn't installed.

    Args:
        what: What can't be done without it.
        extra: The extra's name, also as attribute.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs a package that isn't installed",
            remedy=f"pip install 'u2cut[{extra}]'",
        )
        self.what, self.extra = what, extra

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.what, self.extra)


class DataError(U2cutError):
    """Invalid training or evaluation data."""

    exit_code = ExitCode.DATA


class PartialFailure(U2cutError):
    """Several inputs, of which some failed."""

    exit_code = ExitCode.PARTIAL


class Interrupted(U2cutError):
    """Stopped by the user (Ctrl-C or SIGTERM)."""

    exit_code = ExitCode.INTERRUPTED


def _shortened(text: str) -> str:
    """Cut the middle out of what is no name any more."""
    return text if len(text) <= _LONGEST_PATH else f"{text[:200]} ... {text[-100:]}"


def printable(text: object) -> str:
    r"""Escape what could forge a line or drive a terminal: ``a\nb`` shows as ``a\\nb``."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode("ascii")
        for c in str(text)
    )


def error_of(code: int, text: str) -> U2cutError:
    """Return the error that another process told of, by its exit code."""
    kinds = (UsageError, InputError, OutputError, WeightsError, DeviceError, DataError)
    kind: type[U2cutError] = next((k for k in kinds if k.exit_code == code), U2cutError)
    return kind(text)
