import contextlib
import os
import socket
import threading
from pathlib import Path

import pytest

from u2cut.errors import InputError
from u2cut.files import read as reading
from u2cut.files.read import read


def test_a_pipe_by_name_is_read_like_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "a.jpg"
    os.mkfifo(pipe)
    data = os.urandom(3_000_000)
    threading.Thread(target=pipe.write_bytes, args=(data,)).start()
    assert read(str(pipe)) == data


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(os.urandom(3_000_000))
    assert read(str(file)) == file.read_bytes()


def test_folders_devices_and_sockets_are_refused_with_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="is a folder"):
        read(str(tmp_path))
    with pytest.raises(InputError, match="is a device"):
        read("/dev/zero")
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("a.jpg")
        with pytest.raises(InputError, match="is a socket"):
            read("a.jpg")


def test_a_link_that_leads_to_itself_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").symlink_to("a.jpg")
    with pytest.raises(InputError, match="can't be read"):
        read(str(tmp_path / "a.jpg"))


def test_what_is_too_large_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = tmp_path / "a.tif"
    with sparse.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="more than 2 GiB"):
        read(str(sparse))
    monkeypatch.setattr(reading, "MOST_BYTES", 1 << 21)
    endless = tmp_path / "b.jpg"
    os.mkfifo(endless)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), endless.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 16))

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(InputError, match="more than"):
        read(str(endless))
    writer.join(10)
    assert not writer.is_alive()
