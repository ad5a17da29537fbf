"""Exit codes and the errors that a user can cause.

U2cutError
├── UsageError      2   options or arguments that contradict each other
├── InputError      3   a photo or a list that can't be read
├── OutputError     4   a result that can't be written
├── WeightsError    5   weights that can't be had, or aren't what they claim to be
├── DeviceError     6   a device, engine or precision that was asked for and is missing
│   └── MissingDependencyError   a package that an extra brings
├── DataError       7   invalid training or evaluation data
├── PartialFailure  8   several inputs, some failed
└── Interrupted   130   stopped by the user
"""

import errno
from enum import IntEnum


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
        path: The file, in printable form, unless the problem names it.
        remedy: What to do.
    """

    exit_code = ExitCode.BUG

    def __init__(
        self, problem: str = "", *, path: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(problem)
        self.problem, self.path, self.remedy = problem, path, remedy

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
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


class WeightsError(U2cutError):
    """Weights that can't be had, or aren't what they claim to be."""

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


def system_reason(error: OSError) -> str:
    """Return the system's own words for what went wrong, and what helps if that's no secret."""
    words = error.strerror or str(error)
    return f"{words}; raise the limit with ulimit -n" if error.errno == errno.EMFILE else words
