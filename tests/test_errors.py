"""Errors compose their text in one place."""

import pickle

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
