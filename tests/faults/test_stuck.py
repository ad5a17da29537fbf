"""Photos that never end, that end late, and inputs that are no files."""

import os
import time
from pathlib import Path

from tests.fork_server import ForkServer

BUNDLED = ("--model", "u2netp", "--size", "64", "--engine", "torch")


def test_a_stuck_photo_fails_alone_and_what_it_brings_late_is_not_written(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    late, good, out = tmp_path / "late.jpg", tmp_path / "good.jpg", tmp_path / "out"
    for pipe in (late, good):
        os.mkfifo(pipe)
    command = ("remove", late, good, noise / "00.jpg", *BUNDLED, "-o", out, "--jobs", 1)
    fork_server.start(*command, "--timeout", 2)
    end = time.monotonic() + 250
    while "late.jpg: took longer than 2 s; --timeout" not in fork_server.stderr:
        assert time.monotonic() < end
        time.sleep(0.01)
    photo = (noise / "01.jpg").read_bytes()
    late.write_bytes(photo)  # somebody still reads it: the thread that was given up
    good.write_bytes(photo)
    assert fork_server.wait() == 8
    assert sorted(path.name for path in out.iterdir()) == ["00.png", "good.png"]


def test_a_folder_with_pipes_loops_and_links_that_lead_nowhere_is_gone_through(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    os.mkfifo(folder / "pipe.jpg")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "gone.jpg").symlink_to("nowhere.jpg")
    (folder / "round").symlink_to(folder)
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "link.jpg").symlink_to(noise / "00.jpg")
    assert fork_server.run("remove", folder, "-r", *BUNDLED, "-o", out) == 0
    assert [path.name for path in out.iterdir()] == ["link.png"]
    for name in ("pipe", "loop", "gone", "device"):
        assert f"{name}.jpg: is left out" in fork_server.stderr


def test_a_background_without_end_is_refused(
    fork_server: ForkServer, noise: Path, tmp_path: Path
) -> None:
    command = ("remove", noise / "00.jpg", *BUNDLED, "-o", tmp_path / "a.png")
    assert fork_server.run(*command, "--background-image", "/dev/zero") == 3
    assert "/dev/zero: the background: is a device" in fork_server.stderr
