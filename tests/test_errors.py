"""Errors compose their text in one place."""

import errno
import os
import pickle
from pathlib import Path

import pytest

from u2cut.errors import (
    ExitCode,
    InputError,
    MissingDependencyError,
    OutputError,
    U2cutError,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InputError("is empty"), "is empty"),
        (OutputError("full", path="a.png"), "a.png: full"),
        (OutputError("full", path="a.png", remedy="make room"), "a.png: full; make room"),
        (U2cutError(), ""),
    ],
)
def test_the_text_names_file_problem_and_remedy(error: U2cutError, text: str) -> None:
    assert str(error) == text


def test_a_missing_package_names_its_extra() -> None:
    error = MissingDependencyError("--plots", "train")
    assert error.extra == "train"
    assert error.exit_code is ExitCode.DEVICE
    assert str(error).endswith("; pip install 'u2cut[train]'")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_error_survives_pickling() -> None:
    error = OutputError("full", path="a.png", remedy="make room")
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.path, copy.remedy) == (str(error), "a.png", "make room")
    assert copy.exit_code is ExitCode.OUTPUT


@pytest.mark.parametrize(
    ("kind", "number", "text"),
    [
        (OutputError, errno.EACCES, "Permission denied); choose a folder"),
        (OutputError, errno.ENOSPC, "another disk with -o"),
        (OutputError, errno.EMFILE, "fewer --jobs"),
        (InputError, errno.EACCES, "a b: can't be read (Permission denied)"),
        (InputError, errno.EMFILE, "raise the limit with ulimit -n"),
        (InputError, errno.ENOSPC, "make room on the disk"),
    ],
)
def test_what_the_system_refuses_comes_with_what_helps(
    kind: type[U2cutError], number: int, text: str
) -> None:
    error = kind.from_os(OSError(number, os.strerror(number)), Path("a b"), "can't be read")
    assert text in str(error)
    assert str(error).startswith("a b: can't be read (")
    own = kind.from_os(OSError(number, os.strerror(number)), "a", remedy="pray")
    assert str(own) == f"a: {os.strerror(number)}; pray"


def test_a_path_forges_no_line() -> None:
    error = InputError("is empty", path="a\nb\x1b[2J.png")
    assert str(error) == "a\\nb\\x1b[2J.png: is empty"
    assert error.path == "a\nb\x1b[2J.png"
