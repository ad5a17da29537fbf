"""Places where results can't be written: full, read-only, gone, too small; and files run out."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fork_server import ForkServer
from tests.pictures import opened
from u2cut.batch.journal import lines
from u2cut.batch.summary import summarise_journal

BUNDLED = ("--model", "u2netp", "--size", "64", "--engine", "torch", "--keep-hidden-colours")
Mount = Callable[..., None]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount (or mount again) a small file system of memory at tmp_path/disk, if that's allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def call(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "u2cut-test", disk]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting needs more rights")

    yield call
    while disk.is_mount():
        subprocess.run(["umount", "--lazy", disk], check=True)


def many(noise: Path, folder: Path, count: int) -> Path:
    """Return a folder with links to the same photos again and again."""
    linked = folder / "linked"
    linked.mkdir()
    for i in range(count):
        (linked / f"{i:02}.jpg").symlink_to(noise / f"{i % 12:02}.jpg")
    return linked


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_disk_that_is_full_stops_the_run_and_room_lets_it_go_on(
    fork_server: ForkServer, noise: Path, tmp_path: Path, mount: Mount
) -> None:
    mount("size=400k")
    out, journal = tmp_path / "disk", tmp_path / "journal"
    command = ("remove", many(noise, tmp_path, 20), *BUNDLED, "-o", out)
    assert fork_server.run(*command, "--journal", journal) == 4
    assert "No space left on device" in fork_server.stderr
    assert f"--resume-from {journal}" in fork_server.stderr
    found = summarise_journal(journal)
    assert 1 <= found.ok == len(names(out))
    assert found.failed == 10
    assert f"{found.left} left" in fork_server.stderr.replace("are left", "left")
    for name in names(out):
        assert opened(out / name).shape == (200, 300, 4)

    mount("remount,size=20m")
    assert fork_server.run(*command, "--resume-from", journal) == 0, fork_server.stderr
    assert names(out) == [f"{i:02}.png" for i in range(20)]
    assert (
        summarise_journal(journal).ok,
        summarise_journal(journal).failed,
        summarise_journal(journal).left,
    ) == (20, 0, 0)


def test_a_limit_on_file_sizes_is_named_and_leaves_nothing(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert fork_server.run("remove", noise, *BUNDLED, "-o", out, RLIMIT_FSIZE=50_000) == 4
    assert fork_server.stderr.count("File too large") == 11
    assert "2 are left" in fork_server.stderr
    assert names(out) == []


def test_a_photo_that_fails_late_keeps_its_size_and_seconds(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    photo = sorted(noise.iterdir())[0]
    command = ["remove", photo, *BUNDLED, "-o", tmp_path / "out.png", "--json"]
    assert fork_server.run(*command, RLIMIT_FSIZE=50_000) == 4
    (record,) = map(json.loads, fork_server.stdout.splitlines())
    assert record["status"] == "failed"
    assert (record["height"], record["width"]) == opened(photo).shape[:2]
    assert record["seconds"] > 0


def test_a_read_only_folder_is_named_with_the_remedy(
    fork_server: ForkServer, noise: Path, tmp_path: Path, mount: Mount
) -> None:
    mount("size=1m")
    mount("remount,ro")
    assert fork_server.run("remove", noise, *BUNDLED, "-o", tmp_path / "disk", "--json") == 4
    assert "Read-only file system" in fork_server.stderr
    assert "with -o" in fork_server.stderr
    assert len(fork_server.stdout.splitlines()) == 10


def test_a_folder_without_the_right_to_write_is_named_with_the_remedy(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    out = tmp_path / "out"
    out.mkdir(mode=0o555)
    assert fork_server.run("remove", noise, *BUNDLED, "-o", out) == 4
    assert "Permission denied" in fork_server.stderr
    assert "with -o" in fork_server.stderr


def test_a_folder_that_vanishes_stops_the_run_and_is_not_made_again(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    out, gone = tmp_path / "out", tmp_path / "gone"
    fork_server.start("remove", many(noise, tmp_path, 48), *BUNDLED, "-o", out)
    while not (out.is_dir() and any(out.glob("*.png"))):
        time.sleep(0.01)
    out.rename(gone)
    assert fork_server.wait() == 4
    assert "No such file or directory" in fork_server.stderr
    assert "stopped" in fork_server.stderr
    assert not out.exists()
    assert not list(gone.glob("*.u2cut-part"))


def test_a_photo_that_fails_for_itself_does_not_stop_the_others(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i in range(15):
        (folder / f"{i:02}.jpg").write_bytes(b"no photo")
    (folder / "99.jpg").symlink_to(noise / "00.jpg")
    assert fork_server.run("remove", folder, *BUNDLED, "-o", out) == 8
    assert names(out) == ["99.png"]


def test_a_journal_that_can_not_be_written_stops_the_run(
    fork_server: ForkServer, noise: Path, tmp_path: Path, mount: Mount
) -> None:
    mount("size=4k,mode=0777")
    journal = tmp_path / "disk" / "journal"
    listed = tmp_path / "list"
    listed.write_text("\n".join([f"{tmp_path}/missing{'x' * 100}{i}.jpg" for i in range(40)]))
    out = tmp_path / "out"
    assert (
        fork_server.run("remove", "--from-file", listed, *BUNDLED, "-o", out, "--journal", journal)
        == 4
    )
    assert (
        f"{journal}: the journal can't be written (No space left on device)" in fork_server.stderr
    )
    assert 2 < len(list(lines(journal))) < 40


def test_too_many_open_files_are_named(tmp_path: Path) -> None:
    code = (
        "import os, resource, sys\n"
        "from u2cut.errors import U2cutError\n"
        "from u2cut.files.read import read\n"
        "from u2cut.files.sink import Sink\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))\n"
        "try:\n"
        "    while True: os.dup(0)\n"
        "except OSError: pass\n"
        "write = lambda path: Sink(overwrite=True).write(path + '.png', b'x')\n"
        "for step in (read, write):\n"
        "    try: step(sys.argv[1])\n"
        "    except U2cutError as e: print(e)\n"
    )
    file = tmp_path / "a.jpg"
    file.touch()
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True)
    reading, writing = done.stdout.splitlines()
    for message in (reading, writing):
        assert "Too many open files" in message
        assert "ulimit -n" in message


def test_a_run_with_few_open_files_allowed_gets_through_with_many_threads(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code = fork_server.run(
        "remove", noise, *BUNDLED, "-o", out, "--jobs", 8, "--json", RLIMIT_NOFILE=12
    )
    assert code in (0, 4, 8)
    records = [json.loads(line) for line in fork_server.stdout.splitlines()]
    for record in records:
        assert record["status"] == "ok" or "Too many open files" in record["error"]
    assert len(names(out)) == sum(record["status"] == "ok" for record in records)
