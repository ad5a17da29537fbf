import os
from pathlib import Path

import pytest

from u2cut.errors import OutputError
from u2cut.pipeline.jobs import STD, Job
from u2cut.pipeline.sink import Sink


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_result_is_written_with_its_folders_and_the_usual_rights(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.png"
    Sink(overwrite=False).write(Job("x", str(target)), b"whole")
    assert target.read_bytes() == b"whole"
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask
    assert names(target.parent) == ["c.png"]


def test_what_has_come_into_being_meanwhile_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="--overwrite"):
        Sink(overwrite=False).write(Job("x", str(target)), b"mine")
    assert target.read_bytes() == b"somebody's"
    assert names(tmp_path) == ["a.png"]
    Sink(overwrite=True).write(Job("x", str(target)), b"mine")
    assert target.read_bytes() == b"mine"


def test_an_output_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/a\.png: can't be written"):
        Sink(overwrite=True).write(Job("x", str(tmp_path / "file" / "a.png")), b"")


def test_after_abandon_nothing_is_written(tmp_path: Path) -> None:
    sink = Sink(overwrite=True)
    sink.abandon()
    with pytest.raises(OutputError):
        sink.write(Job("x", str(tmp_path / "a.png")), b"late")
    assert names(tmp_path) == []


def test_stdout_gets_every_byte_through_a_narrow_pipe() -> None:
    class Narrow:
        def __init__(self) -> None:
            self.got = b""

        def write(self, data: memoryview) -> int:
            self.got += bytes(data[:7])
            return min(7, len(data))

    stream = Narrow()
    Sink(overwrite=False, stdout=stream).write(Job(STD, STD), b"0123456789" * 5)  # type: ignore[arg-type]
    assert stream.got == b"0123456789" * 5
