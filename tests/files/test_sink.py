import os
from pathlib import Path
from typing import BinaryIO

import pytest

from u2cut.errors import OutputError
from u2cut.files.sink import Sink
from u2cut.files.temporary import TemporaryFile, atomic_write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_result_is_written_with_its_folders_and_the_usual_rights(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.png"
    Sink(overwrite=False).write(str(target), b"whole")
    assert target.read_bytes() == b"whole"
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask
    assert names(target.parent) == ["c.png"]


def test_what_has_come_into_being_meanwhile_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"somebody's")
    with pytest.raises(OutputError, match="--overwrite"):
        Sink(overwrite=False).write(str(target), b"mine")
    assert target.read_bytes() == b"somebody's"
    assert names(tmp_path) == ["a.png"]
    Sink(overwrite=True).write(str(target), b"mine")
    assert target.read_bytes() == b"mine"


def test_an_output_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for overwrite in (True, False):
        with pytest.raises(OutputError, match=r"file/a\.png: can't be written") as raised:
            Sink(overwrite=overwrite).write(str(tmp_path / "file" / "a.png"), b"")
        assert "Not a directory" in str(raised.value)
        assert "--overwrite" not in str(raised.value)


def test_after_abandon_nothing_is_written(tmp_path: Path) -> None:
    sink = Sink(overwrite=True)
    sink.abandon()
    with pytest.raises(OutputError):
        sink.write(str(tmp_path / "a.png"), b"late")
    assert names(tmp_path) == []


def test_half_written_files_of_dead_runs_are_cleared_those_of_living_ones_kept(
    tmp_path: Path,
) -> None:
    dead = tmp_path / ".0123456789abcdef.u2cut-part"
    dead.write_bytes(b"half")
    for name in (".notes.u2cut-part", "0123456789abcdef.u2cut-part", ".0123456789abcdef.part"):
        (tmp_path / name).write_bytes(b"somebody's")
    (tmp_path / ".aaaaaaaaaaaaaaaa.u2cut-part").symlink_to(tmp_path / "a link")
    os.mkfifo(tmp_path / ".bbbbbbbbbbbbbbbb.u2cut-part")
    kept = set(names(tmp_path)) - {dead.name, ".bbbbbbbbbbbbbbbb.u2cut-part"}
    with TemporaryFile(str(tmp_path)) as living:
        living.fill(b"half")
        Sink(overwrite=False).tidy(str(tmp_path / "a.png"))
        assert set(names(tmp_path)) == kept | {living.path.name}
    assert set(names(tmp_path)) == kept


def test_a_folder_is_looked_through_once_a_run(tmp_path: Path) -> None:
    sink, late = Sink(overwrite=False), tmp_path / ".0123456789abcdef.u2cut-part"
    sink.tidy(str(tmp_path / "a.png"))
    late.touch()
    sink.tidy(str(tmp_path / "b.png"))
    assert late.exists()


def test_a_folder_that_vanishes_is_not_made_again(tmp_path: Path) -> None:
    sink, out = Sink(overwrite=False), tmp_path / "out"
    sink.write(str(out / "a.png"), b"a")
    (out / "a.png").unlink()
    out.rmdir()
    with pytest.raises(OutputError, match="No such file"):
        sink.write(str(out / "b.png"), b"b")
    assert not out.exists()


def test_a_result_that_comes_after_giving_up_is_not_written(tmp_path: Path) -> None:
    sink, job = Sink(overwrite=True), str(tmp_path / "a.png")
    sink.give_up(job)
    with pytest.raises(OutputError):
        sink.write(job, b"late")
    sink.write(str(tmp_path / "b.png"), b"in time")
    assert names(tmp_path) == ["b.png"]


def test_an_atomic_write_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    atomic_write(path, b"one")
    atomic_write(path, lambda stream: stream.write(b"two"))
    assert path.read_bytes() == b"two"

    def fail(stream: BinaryIO) -> None:
        stream.write(b"three")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        atomic_write(path, fail)
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]
