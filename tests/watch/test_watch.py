"""A watched folder, with real processes: what comes whole is cut out once, nothing is lost."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import disc_photo
from u2cut.watch.folder import Folder

NETWORK = ["--model", "u2netp", "--offline", "--size", "96", "--engine", "torch"]
QUICK = ["--settle", "0.3", "--every", "0.1"]


class Watched:
    """A folder ``in`` with a watcher that writes into ``out``."""

    def __init__(self, root: Path) -> None:
        self.root, self.into, self.out = root, root / "in", root / "out"
        self.into.mkdir()
        self.process: subprocess.Popen[str] | None = None
        self.log = root / "log"

    def start(self, *words: object) -> None:
        command = [sys.executable, "-m", "u2cut", "watch", self.into, "-o", self.out]
        command += [*QUICK, *NETWORK, *map(str, words)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, text=True)

    def once(self, *words: object, seconds: float = 60) -> int:
        self.start("--once", *words)
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def wait(self, found: Callable[[], bool], seconds: float = 60) -> None:
        assert self.process is not None
        deadline = time.monotonic() + seconds
        while not found():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def results(self) -> list[str]:
        return sorted(
            str(p.relative_to(self.out))
            for p in self.out.rglob("*.png")
            if not p.name.startswith(".")
        )

    def finished(self) -> list[tuple[str, str]]:
        """The journal's final lines: photo and status."""
        journal = self.out / ".u2cut-watch.jsonl"
        records = map(json.loads, journal.read_text().splitlines()) if journal.exists() else []
        return [(r["photo"], r["status"]) for r in records if "status" in r]

    @property
    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    one = Watched(tmp_path)
    yield one
    if one.process is not None and one.process.poll() is None:
        one.process.kill()
        one.process.wait()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(disc_photo()).save(path)
    return path


def put(photo: Path, target: Path) -> None:
    """Move a copy in, as careful programs do."""
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.incoming")
    shutil.copy(photo, hidden)
    hidden.rename(target)


def test_what_comes_is_cut_out_as_remove_does(watched: Watched, photo: Path) -> None:
    watched.start("-r", "--background", "white")
    put(photo, watched.into / "a.png")
    put(photo, watched.into / "deep/er/b.png")
    watched.wait(lambda: watched.results() == ["a.png", "deep/er/b.png"])
    watched.wait(lambda: len(watched.finished()) == 2)
    assert watched.stop() == 0
    command = [sys.executable, "-m", "u2cut", "remove", photo, "-o", watched.root / "r.png"]
    subprocess.run([*command, *NETWORK, "--background", "white", "-q"], check=True)
    expected = (watched.root / "r.png").read_bytes()
    assert (watched.out / "a.png").read_bytes() == expected
    assert (watched.out / "deep/er/b.png").read_bytes() == expected


def test_a_slow_copy_is_waited_for(watched: Watched, photo: Path) -> None:
    watched.start("--settle", "0.6")
    watched.wait(lambda: "watching" in watched.said)
    data = photo.read_bytes()
    with (watched.into / "slow.png").open("wb", buffering=0) as file:
        for k in range(8):
            file.write(data[k * len(data) // 8 : (k + 1) * len(data) // 8])
            time.sleep(0.15)
    watched.wait(lambda: watched.finished() == [("slow.png", "ok")])
    assert "slow.png" not in watched.said  # it was never tried half


def test_running_downloads_and_hidden_files_are_left(watched: Watched, photo: Path) -> None:
    for name in (".a.png", "~b.png", "c.part.png", "d.crdownload.png", "e.tmp", "f.png.part"):
        shutil.copy(photo, watched.into / name)
    shutil.copy(photo, watched.into / "g.png")
    assert watched.once() == 0
    assert watched.finished() == [("g.png", "ok")]


def test_a_replaced_photo_is_done_again_and_a_restart_repeats_nothing(
    watched: Watched, photo: Path
) -> None:
    put(photo, watched.into / "a.png")
    assert watched.once() == 0
    first = (watched.out / "a.png").stat().st_mtime_ns
    assert watched.once() == 0
    assert (watched.out / "a.png").stat().st_mtime_ns == first
    assert watched.finished() == [("a.png", "ok")]
    Image.fromarray(disc_photo()[:, ::-1]).save(watched.into / "a.png")
    assert watched.once() == 0
    assert watched.finished() == [("a.png", "ok")] * 2
    assert (watched.out / "a.png").stat().st_mtime_ns > first


def test_a_damaged_old_file_fails_at_once_and_is_put_aside_with_the_reason(
    watched: Watched, photo: Path
) -> None:
    for name in ("bad.jpg", "good.png"):
        shutil.copy(photo, watched.into / name)
    (watched.into / "bad.jpg").write_bytes(b"no photo")
    os.utime(watched.into / "bad.jpg", (1e9, 1e9))
    code = watched.once("--failed", watched.root / "f", "--move-done", watched.root / "d")
    assert code == 8
    assert sorted(watched.finished()) == [("bad.jpg", "failed"), ("good.png", "ok")]
    assert (watched.root / "f/bad.jpg").read_bytes() == b"no photo"
    assert "not a picture" in (watched.root / "f/bad.jpg.txt").read_text()
    assert (watched.root / "d/good.png").exists()
    assert list(watched.into.iterdir()) == []


def test_a_damaged_young_file_is_tried_again_until_it_is_whole(
    watched: Watched, photo: Path
) -> None:
    (watched.into / "young.png").write_bytes(photo.read_bytes()[:200])
    watched.start()
    watched.wait(lambda: "young.png" in watched.said)
    assert watched.finished() == []
    with (watched.into / "young.png").open("ab") as file:  # the share was stuck for a while
        file.write(photo.read_bytes()[200:])
    watched.wait(lambda: watched.finished() == [("young.png", "ok")])


def test_names_that_collide_cost_the_second_only(watched: Watched, photo: Path) -> None:
    put(photo, watched.into / "mug.png")
    shutil.copy(photo, watched.into / "mug.webp")
    assert watched.once() == 8
    assert sorted(status for _, status in watched.finished()) == ["failed", "ok"]
    assert "would replace the result of mug.png; --keep-ending" in watched.said


def test_a_result_that_no_watcher_made_is_not_replaced(watched: Watched, photo: Path) -> None:
    put(photo, watched.into / "a.png")
    watched.out.mkdir()
    (watched.out / "a.png").write_text("mine")
    assert watched.once() == 8
    assert (watched.out / "a.png").read_text() == "mine"
    assert "no watcher made it; --overwrite" in watched.said


def test_results_inside_the_watched_folder_are_no_photos(watched: Watched, photo: Path) -> None:
    put(photo, watched.into / "a.png")
    watched.out = watched.into / "cut"
    assert watched.once("-r") == 0
    assert watched.once("-r") == 0
    assert watched.finished() == [("a.png", "ok")]


def test_the_second_watcher_of_a_folder_is_told(watched: Watched, photo: Path) -> None:
    watched.start()
    watched.wait(lambda: "watching" in watched.said)
    command = [sys.executable, "-m", "u2cut", "watch", watched.into, "-o", watched.root / "other"]
    second = subprocess.run([*command, *NETWORK], capture_output=True, text=True)
    assert second.returncode == 4
    assert "another u2cut watches this folder; stop it first" in second.stderr
    assert watched.stop(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "-o DIR"),
        (("-o", "in"), 2, "folder of their own"),
        (("-o", "out", "--strip", "--keep-gps"), 2, "choose one"),
    ],
)
def test_what_can_not_be_watched_is_refused(
    watched: Watched, words: tuple[str, ...], code: int, said: str
) -> None:
    command = [sys.executable, "-m", "u2cut", "watch", "in", *words]
    done = subprocess.run(command, cwd=watched.root, capture_output=True, text=True)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    gone = subprocess.run([*command[:4], "nowhere", "-o", "x"], cwd=watched.root, text=True,
                          capture_output=True)  # fmt: skip
    assert gone.returncode == 3


def test_other_options_than_before_are_refused(watched: Watched, photo: Path) -> None:
    put(photo, watched.into / "a.png")
    assert watched.once("--feather", 2) == 0
    assert watched.once("--feather", 3) == 2
    assert "--feather 2.0" in watched.said


def kills(watched: Watched, photo: Path, *, count: int, times: int, seed: int) -> None:
    """Let photos come while the watcher is killed at random moments."""
    chance = random.Random(seed)
    names = [f"{k % 3}/{k:04}.png" for k in range(count)]

    def feed() -> None:
        for name in names:
            put(photo, watched.into / name)
            time.sleep(chance.uniform(0, 0.05))

    feeder = threading.Thread(target=feed)
    feeder.start()
    for _ in range(times):
        watched.start("-r")
        time.sleep(chance.uniform(1.5, 4))
        watched.stop(signal.SIGKILL)
    feeder.join()
    assert watched.once("-r", seconds=60 + count) == 0
    assert watched.results() == sorted(names)
    done = watched.finished()
    assert len(done) == len(set(done)), "a photo was done twice"
    for name in watched.results():
        with Image.open(watched.out / name) as opened:
            assert np.asarray(opened).shape == (96, 128, 4)
    assert not list(watched.out.rglob("*.u2cut-part"))


def test_killed_watchers_do_nothing_twice_and_lose_nothing(watched: Watched, photo: Path) -> None:
    kills(watched, photo, count=8, times=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_thousand_photos_and_twenty_kills(watched: Watched, photo: Path) -> None:
    kills(watched, photo, count=1000, times=20, seed=2)


def test_a_photo_settles_only_when_size_time_and_inode_stand_still(tmp_path: Path) -> None:
    folder = Folder(tmp_path, recursive=False, leave_out=(), settle=2)
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    assert folder.look(0.0) == {}
    path.write_bytes(b"12")
    assert folder.look(1.9) == {}
    assert folder.look(3.0) == {}
    os.utime(path, (5, 5))
    assert folder.look(4.5) == {}
    other = tmp_path / "b"
    other.write_bytes(b"12")
    os.utime(other, (5, 5))
    other.replace(path)
    assert folder.look(6.6) == {}
    assert list(folder.look(8.7)) == ["a.png"]
    assert list(folder.look(60.0)) == ["a.png"]
    path.unlink()
    assert folder.look(61.0) == {}
