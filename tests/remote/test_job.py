"""Jobs of many shards: each photo once, whatever ends the process that does it."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.remote.conftest import Command, environment
from tests.remote.s3 import Store
from tests.remote.test_remote import jpeg
from u2cut.batch import work
from u2cut.batch.job import JobFolder
from u2cut.batch.journal import Line
from u2cut.options import RunOptions

NETWORK = ("--model", "u2netp", "--offline", "--size", "64", "--engine", "torch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eleven photos, one of them in a folder inside, and a damaged one."""
    (tmp_path / "in/deep").mkdir(parents=True)
    for number in range(10):
        (tmp_path / f"in/{number:02}.jpg").write_bytes(jpeg(number))
    (tmp_path / "in/deep/x.jpg").write_bytes(jpeg(40))
    (tmp_path / "in/broken.jpg").write_bytes(jpeg()[:700])
    return tmp_path


def records(place: Path) -> dict[str, list[str]]:
    """The status of each input, from all journals of a job's shards."""
    found: dict[str, list[str]] = {}
    for path in sorted(place.glob("done/*")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            entry = json.loads(line)
            if "input" in entry:
                found.setdefault(entry["input"], []).append(entry["status"])
    return found


def files(place: Path) -> dict[str, bytes]:
    paths = (p for p in place.rglob("*") if p.is_file())
    return {str(p.relative_to(place)): p.read_bytes() for p in paths}


def test_a_job_does_what_remove_does(folder: Path, u2cut: Command) -> None:
    look = ("--background", "lime", "--crop", "--crop-margin", "5%", "--format", "webp")
    assert u2cut("remove", "in", "-r", "-o", "plain/", *look).returncode == 8
    made = u2cut("manifest", "in", "-r", "-o", "job", "--to", "cut/", *look, *NETWORK,
                 "--shard-size", "4")  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert b"12 photos in 3 shards" in made.stderr
    assert not (folder / "cut").exists()
    one = u2cut("work", "job", "--shards", "1")
    assert one.returncode == 0, one.stderr
    assert len(files(folder / "cut")) == 4
    assert u2cut("work", "job", "--shards", "0-2").returncode == 8
    assert files(folder / "cut") == files(folder / "plain")
    assert {status for (status,) in records(folder / "job").values()} == {"ok", "failed"}
    assert len(records(folder / "job")) == 12
    said = json.loads(u2cut("report", "job", "--json").stdout)
    assert (said["ok"], said["failed"], said["left"]) == (11, 1, 0)
    assert "JPEG" in said["reasons"][0]["error"]


@pytest.mark.parametrize("packed", [False, True])
def test_an_inventory_names_the_photos(
    store: Store, u2cut: Command, tmp_path: Path, packed: bool
) -> None:
    for number, key in enumerate(("in/a b.jpg", "in/deep/c.jpg")):
        store.objects["shop", key] = jpeg(number)
    lines = '"shop","in/a+b.jpg","100"\n"shop","in/deep/c.jpg","100"\n"shop","in/readme.txt","9"\n'
    lines += '"shop","../evil.jpg","1"\n'
    path = tmp_path / ("list.csv.gz" if packed else "list.csv")
    path.write_bytes(gzip.compress(lines.encode()) if packed else lines.encode())
    words = ("manifest", "--inventory", path, "-o", "job", "--to", "s3://shop/cut/", *NETWORK)
    made = u2cut(*words)
    assert made.returncode == 0, made.stderr
    assert not [key for _, key in store.asked if key.startswith("in/")]
    assert u2cut("work", "job").returncode == 0
    cut = [key for key in store.keys("shop") if key.startswith("cut/")]
    assert cut == ["cut/in/a b.png", "cut/in/deep/c.png"]
    path.write_bytes(b"one\n")
    broken = u2cut(*words[:4], "other", *words[5:])
    assert broken.returncode == 3
    assert str(path).encode() in broken.stderr


def test_what_is_done_is_passed_over(folder: Path, u2cut: Command) -> None:
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK, "--shard-size", "3")
    u2cut("work", "job", "--shards", "0")
    said = json.loads(u2cut("report", "job", "--json").stdout)
    assert (said["ok"], said["left"]) == (3, 8)
    shutil.rmtree(folder / "cut")
    (folder / "job/done/000000.jsonl.gz").rename(folder / "kept")
    u2cut("work", "job")
    assert len(files(folder / "cut")) == 10  # a shard without its journal is done again
    shutil.rmtree(folder / "cut")
    assert u2cut("work", "job").returncode == 0
    assert not (folder / "cut").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("work", "nowhere"), 3, b"u2cut manifest"),
        (("report", "nowhere/"), 3, b""),
        (("work", "job", "--shards", "9"), 2, b"0 to 0"),
        (("work", "job", "--shards", "x"), 2, b"--shards"),
        (("work", "job", "--shards", "1-0"), 2, b"--shards"),
        (("manifest", "in", "-o", "job", "--to", "cut/"), 4, b"holds a job"),
        (("manifest", "in", "-o", "other"), 2, b"--to"),
        (("manifest", "in", "--to", "other"), 2, b"-o JOB"),
        (("manifest", "in", "-o", "other", "--to", "c/", "--format", "jpg"), 4, b"transparency"),
        (("manifest", "none", "-o", "other", "--to", "c/"), 3, b"none"),
        (("work", "job", "--gpus", "1"), 2, b"--on ray"),
        (("work", "job", "--workers", "2"), 2, b"--on ray"),
        (("work", "job", "--address", "auto"), 2, b"--on ray"),
        (("work", "job", "--on", "spark"), 2, b"ray"),
        (("report", "job", "--sheet", "a.html"), 2, b"--sheet"),
    ],
)
def test_what_can_not_be_done_is_said(
    folder: Path, u2cut: Command, words: tuple[str, ...], code: int, said: bytes
) -> None:
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK)
    more = NETWORK if words[0] == "manifest" else ()
    done = u2cut(*words, *more)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("key", ["version", "weights"])
def test_another_version_or_other_weights_are_refused(
    folder: Path, u2cut: Command, key: str
) -> None:
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK)
    path = folder / "job/job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "another"}))
    done = u2cut("work", "job")
    assert done.returncode == 3
    assert b"another" in done.stderr
    assert not (folder / "cut").exists()


def test_results_that_exist_are_refused_or_left(folder: Path, u2cut: Command) -> None:
    (folder / "cut").mkdir()
    (folder / "cut/00.png").write_bytes(b"mine")
    words = ("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK)
    refused = u2cut(*words)
    assert refused.returncode == 4
    assert b"--skip-existing" in refused.stderr
    assert u2cut(*words, "--skip-existing").returncode == 0
    assert u2cut("work", "job").returncode == 8
    assert (folder / "cut/00.png").read_bytes() == b"mine"
    assert records(folder / "job")["in/00.jpg"] == ["skipped"]


def test_a_photo_that_brings_down_its_process_fails_alone(folder: Path, u2cut: Command) -> None:
    (folder / "in/04.jpg").write_bytes(b"DEADLY" + jpeg())
    (folder / "sitecustomize.py").write_text(
        """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "u2cut.batch.run":
            sys.meta_path.remove(self)
            import u2cut.imaging.decode as module
            real = module.decode
            def decode(data, **more):
                if data.startswith(b"DEADLY"):
                    os.kill(os.getpid(), signal.SIGSEGV)
                return real(data, **more)
            module.decode = decode
sys.meta_path.insert(0, Finder())
"""
    )
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK)
    done = subprocess.run(
        [sys.executable, "-m", "u2cut", "work", "job"],
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"},
        cwd=folder, capture_output=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 8, done.stderr
    assert b"in/04.jpg: the process" in done.stderr
    found = records(folder / "job")
    assert found["in/04.jpg"] == ["failed"]
    assert [name for name, status in found.items() if status == ["failed"]] == [
        "in/04.jpg", "in/broken.jpg",
    ]  # fmt: skip
    assert len(found) == 11
    assert len(files(folder / "cut")) == 9


@pytest.mark.parametrize("whom", [os.kill, os.killpg])
def test_told_to_end_it_finishes_its_photo_and_keeps_what_is_done(
    folder: Path, u2cut: Command, whom: Callable[[int, int], None]
) -> None:
    """SIGTERM to the process (a container), or to all of its group (Slurm)."""
    for number in range(40):
        (folder / "in" / f"more-{number:02}.jpg").write_bytes(jpeg(number))
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK)
    command = [sys.executable, "-m", "u2cut", "work", "job", "-j", "1"]
    process = subprocess.Popen(
        command, cwd=folder, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while len(files(folder / "cut")) < 6:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    whom(process.pid, signal.SIGTERM)
    assert process.wait(60) == 130
    assert not (folder / "job/done").exists()
    kept = gzip.decompress((folder / "job/part/000000.jsonl.gz").read_bytes()).splitlines()
    assert 1 <= len(kept) < 45
    done = [folder / json.loads(line)["output"] for line in kept if b'"ok"' in line]
    assert done
    before = {path: path.stat().st_mtime_ns for path in done}
    assert u2cut("work", "job").returncode == 8  # for the broken one
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert len(files(folder / "cut")) == 50
    assert len(records(folder / "job")) == 51


def test_what_is_done_of_a_shard_is_kept_now_and_then(
    folder: Path, u2cut: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the worker that is killed at once: the next one goes on from there."""
    monkeypatch.chdir(folder)
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK)
    monkeypatch.setattr(work, "KEPT_EVERY", 4)
    kept: list[int] = []
    keep = JobFolder.keep

    def counted(self: JobFolder, number: int, lines: list[Line]) -> None:
        kept.append(len(lines))
        keep(self, number, lines)

    monkeypatch.setattr(JobFolder, "keep", counted)
    (found,) = work.work(JobFolder("job"), range(1), RunOptions())
    assert len(found) == 11
    assert kept == [4, 8]


def test_what_stops_all_photos_stops_the_work(folder: Path, u2cut: Command) -> None:
    """An engine that isn't installed on this machine: no photo is to blame."""
    words = ("--model", "u2netp", "--offline", "--size", "64", "--engine", "openvino")
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *words)
    (folder / "openvino.py").write_text("raise ImportError")
    done = subprocess.run(
        [sys.executable, "-m", "u2cut", "work", "job"], cwd=folder, capture_output=True,
        env=os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{Path(__file__).parents[2]}"},
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 6, done.stderr
    assert b"u2cut[openvino]" in done.stderr
    assert not (folder / "job/done").exists()


def test_a_photo_that_was_replaced_since_is_not_taken_for_the_one_that_was_meant(
    store: Store, shop: tuple[Store, str], u2cut: Command
) -> None:
    for number in range(3):
        store.objects["shop", f"in/{number}.jpg"] = jpeg(number)
    words = ("s3://shop/in/", "-o", "s3://shop/job/", "--to", "s3://shop/cut/")
    assert u2cut("manifest", *words, *NETWORK).returncode == 0
    store.objects["shop", "in/1.jpg"] = jpeg(20)
    done = u2cut("work", "s3://shop/job/")
    assert done.returncode == 8
    assert b"s3://shop/in/1.jpg: has changed since it was listed" in done.stderr
    assert [k for _, k in sorted(store.objects) if k.startswith("cut/")] == [
        "cut/0.png",
        "cut/2.png",
    ]


def test_without_ray_its_extra_is_named(folder: Path, u2cut: Command) -> None:
    u2cut("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK)
    (folder / "ray.py").write_text("raise ImportError")
    done = u2cut("work", "job", "--on", "ray")  # which finds that file first
    assert done.returncode == 6
    assert b"u2cut[ray]" in done.stderr


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_every_photo_has_one_final_line_whatever_is_killed(
    store: Store, shop: tuple[Store, str], u2cut: Command, tmp_path: Path, kills: int
) -> None:
    """Job and results in a store: the process, or the one that it started, dies at any moment."""
    for number in range(12):
        store.objects["shop", f"in/{number:02}.jpg"] = jpeg(number)
    words = ("s3://shop/in/", "-o", "s3://shop/job/", "--to", "s3://shop/cut/")
    made = u2cut("manifest", *words, *NETWORK, "--shard-size", "2")
    assert made.returncode == 0, made.stderr
    command = [sys.executable, "-m", "u2cut", "work", "s3://shop/job/"]
    draw = random.Random(5)

    def keys(folder: str) -> list[str]:
        return [key for key in store.keys("shop") if key.startswith(folder)]

    for attempt in range(kills):
        before = len(keys("cut/"))
        process = subprocess.Popen(command, env=environment(shop[1]), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(keys("cut/")) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.1))
        own = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = own.read_text().split() if own.exists() else []
        if attempt % 2 and children:
            os.kill(int(children[-1]), 9)
            process.wait(120)
        else:
            process.kill()
            process.wait()
        if len(keys("job/done/")) == 6:
            for key in keys("job/done/")[:4]:
                del store.objects["shop", key]
    assert u2cut("work", "s3://shop/job/").returncode == 0
    assert len(keys("cut/")) == 12
    final: list[str] = []
    for key in keys("job/done/"):
        lines = gzip.decompress(store.objects["shop", key]).splitlines()
        final += [json.loads(line)["input"] for line in lines[1:]]
    assert sorted(final) == [f"s3://shop/in/{number:02}.jpg" for number in range(12)]
    u2cut("remove", "s3://shop/in/", "-o", "plain/")
    for name, data in files(tmp_path / "plain").items():
        assert store.objects["shop", f"cut/{name}"] == data
