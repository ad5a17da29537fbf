"""Photos and results in an object store, on the web, and where fsspec goes."""

import functools
import http.server
import io
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import disc_photo
from tests.remote.conftest import Command, environment
from tests.remote.s3 import Store
from u2cut.files import address


def jpeg(shift: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.roll(disc_photo(), shift, axis=1)).save(file, "JPEG", quality=95)
    return file.getvalue()


@pytest.fixture
def photos(store: Store, tmp_path: Path) -> list[str]:
    """Five photos in the store, the same ones in the folder "in"."""
    names = ["a.jpg", "b c.jpg", "deep/d.jpg", "deep/er/é+%20.jpg", "z.jpg"]
    for number, name in enumerate(names):
        data = jpeg(number)
        store.objects["shop", f"in/{name}"] = data
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    store.objects["shop", "in/notes.txt"] = b"no photo"
    store.objects["shop", "in/deep/"] = b""
    store.objects["shop", "inside/no.jpg"] = b"another folder"
    return names


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("s3://shop/a.jpg", "s3://shop/a.jpg"),
        ("s3:/shop/a.jpg", "s3://shop/a.jpg"),  # what pathlib makes of it
        ("https://example.com/a.jpg?x=1", "https://example.com/a.jpg?x=1"),
        ("sftp://host/a.jpg", "sftp://host/a.jpg"),
        ("photos/a.jpg", None),
        ("C:/photos/a.jpg", None),
        ("c:\\photos\\a.jpg", None),
        ("a:b/c.jpg", None),
        ("-", None),
    ],
)
def test_what_is_an_address(path: str, found: str | None) -> None:
    assert address.address_of(path) == found


def test_a_remote_folder_is_cut_like_a_local_one(
    store: Store, photos: list[str], u2cut: Command, tmp_path: Path
) -> None:
    words = ("--journal", "night.jsonl", "-r", "-o")
    assert u2cut("remove", "in", *words, "out").returncode == 0
    done = u2cut("remove", "s3://shop/in/", *words, "s3://shop/out/")
    assert done.returncode == 0, done.stderr
    results = {f"out/{Path(name).with_suffix('.png')}" for name in photos}
    assert {key for key in store.keys("shop") if key.startswith("out/")} == results
    for key in results:
        assert store.objects["shop", key] == (tmp_path / key).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "night.jsonl").read_text().splitlines()]
    written = [line["output"] for line in lines if line.get("status") == "ok"]
    assert sorted(written[5:]) == sorted(f"s3://shop/{key}" for key in results)


def test_results_come_here_and_go_there(
    store: Store, photos: list[str], u2cut: Command, tmp_path: Path
) -> None:
    assert u2cut("remove", "s3://shop/in", "-o", "here/").returncode == 0
    assert sorted(p.name for p in (tmp_path / "here").iterdir()) == ["a.png", "b c.png", "z.png"]
    assert u2cut("mask", "in/a.jpg", "-o", "s3://shop/masks/a.png").returncode == 0
    with Image.open(io.BytesIO(store.objects["shop", "masks/a.png"])) as mask:
        assert mask.mode == "L"
    assert u2cut("remove", "s3://shop/in/a.jpg").returncode == 0
    assert ("shop", "in/a.cutout.png") in store.objects
    piped = u2cut("remove", "s3://shop/in/a.jpg", "-o", "-")
    assert piped.stdout == store.objects["shop", "in/a.cutout.png"]
    done = u2cut("remove", "s3://shop/in/*c.jpg", "-o", "patterns/")
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "patterns").iterdir()] == ["b c.png"]


def test_lists_and_backgrounds_may_be_remote(
    store: Store, photos: list[str], u2cut: Command, tmp_path: Path
) -> None:
    store.objects["shop", "list.txt"] = b"s3://shop/in/a.jpg\nin/z.jpg\n"
    file = io.BytesIO()
    Image.new("RGB", (20, 20), (0, 200, 0)).save(file, "PNG")
    store.objects["shop", "green.png"] = file.getvalue()
    behind = ("--background-image", "s3://shop/green.png")
    done = u2cut("remove", "--from-file", "s3://shop/list.txt", "-o", "out/", *behind)
    assert done.returncode == 0, done.stderr
    for name in ("a.png", "z.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.mode == "RGB"
            assert picture.getpixel((0, 0)) == (0, 200, 0)


def test_what_exists_is_not_replaced_unless_it_is_asked_for(
    store: Store, photos: list[str], u2cut: Command
) -> None:
    store.objects["shop", "out/a.png"] = b"mine"
    refused = u2cut("remove", "s3://shop/in/", "-o", "s3://shop/out/")
    assert refused.returncode == 4
    assert b"--overwrite" in refused.stderr
    assert store.objects["shop", "out/a.png"] == b"mine"
    assert not [key for method, key in store.asked if method == "PUT"]
    store.asked.clear()
    words = ("remove", "s3://shop/in/", "-o", "s3://shop/out/")
    assert u2cut(*words, "--skip-existing").returncode == 0
    assert store.objects["shop", "out/a.png"] == b"mine"
    assert ("shop", "out/z.png") in store.objects
    # A listing of the photos and one of the results; no question for each.
    assert len([key for method, key in store.asked if method == "HEAD"]) == 0
    assert len([key for method, key in store.asked if key == ""]) == 2
    assert u2cut(*words, "--overwrite").returncode == 0
    assert store.objects["shop", "out/a.png"].startswith(b"\x89PNG")


def test_the_store_itself_makes_sure_that_nothing_is_replaced(
    store: Store, photos: list[str], u2cut: Command
) -> None:
    """Another writer came between the planning and the result."""

    def faults(method: str, key: str) -> str:
        if (method, key) == ("GET", "in/a.jpg"):
            store.objects["shop", "out/a.png"] = b"theirs"
        return ""

    store.faults = faults
    done = u2cut("remove", "s3://shop/in/", "-o", "s3://shop/out/")
    assert done.returncode == 8
    assert b"out/a.png: can't be written (exists already)" in done.stderr
    assert store.objects["shop", "out/a.png"] == b"theirs"
    assert ("shop", "out/z.png") in store.objects


@pytest.mark.parametrize("fault", ["503", "cut", "lost"])
def test_a_store_that_stumbles_is_asked_again(
    store: Store, photos: list[str], u2cut: Command, fault: str
) -> None:
    seen: dict[tuple[str, str], int] = {}

    def faults(method: str, key: str) -> str:
        seen[method, key] = seen.get((method, key), 0) + 1
        return fault if seen[method, key] < 3 else ""

    store.faults = faults
    done = u2cut("remove", "s3://shop/in/", "-o", "s3://shop/out/")
    assert done.returncode == 0, done.stderr
    for name in ("a", "b c", "z"):
        with Image.open(io.BytesIO(store.objects["shop", f"out/{name}.png"])) as picture:
            picture.load()


def test_a_store_that_answers_nobody_stops_the_run(
    store: Store, u2cut: Command, tmp_path: Path
) -> None:
    for number in range(14):
        store.objects["shop", f"in/{number:02}.jpg"] = jpeg()
    store.faults = lambda method, key: "403" if method == "PUT" else ""
    done = u2cut("remove", "s3://shop/in/", "-o", "s3://shop/out/", "--jobs", "1")
    assert done.returncode == 4
    assert b"credentials" in done.stderr
    assert b"left" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("s3://shop/in/no.jpg", "-o", "x.png"), 3, b"no such object"),
        (("s3://nobody/in/a.jpg", "-o", "x.png"), 3, b"no such bucket"),
        (("s3://nobody/in/", "-o", "x/"), 3, b"no such bucket"),
        (("s3://shop/empty/", "-o", "x/"), 3, b"no photos found"),
        (("in/a.jpg", "-o", "s3://nobody/x.png"), 4, b"no such bucket"),
        (("in/a.jpg", "-o", "https://example.com/x.png"), 4, b"can't be written to"),
        (("s3://shop/in/a.jpg", "-o", "s3://shop/in/a.jpg", "--overwrite"), 4, b""),
        (("s3://shop/in/a//b.jpg", "-o", "x.png"), 3, b"empty part"),
        (("s3://shop/in/../a.jpg", "-o", "x.png"), 3, b".."),
        (("file:///etc/a.jpg", "-o", "x.png"), 3, b"leave out file://"),
        (("nosuch://host/a.jpg", "-o", "x.png"), 3, b"nosuch"),
        (("s3://shop/in/a.jpg", "-o", "x.png", "--journal", "s3://shop/j"), 2, b"local file"),
    ],
)
def test_what_can_not_be_done_is_said(
    photos: list[str], u2cut: Command, words: tuple[str, ...], code: int, said: bytes
) -> None:
    done = u2cut("remove", *words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"\n\n" not in done.stderr.strip()


def test_no_key_leads_out_of_the_results_folder(
    store: Store, photos: list[str], u2cut: Command, tmp_path: Path
) -> None:
    store.objects["shop", "in/../../../evil.jpg"] = jpeg()
    done = u2cut("remove", "s3://shop/in/", "-r", "-o", "out/")
    assert done.returncode == 3
    assert b".." in done.stderr
    assert not list(tmp_path.parent.glob("**/evil*"))


def test_a_name_that_can_not_be_read_costs_its_own_folder_only(
    store: Store, photos: list[str], u2cut: Command, tmp_path: Path
) -> None:
    store.objects["shop", "in/odd//x.jpg"] = jpeg()
    store.objects["shop", "in/odd/y.jpg"] = jpeg()
    done = u2cut("remove", "s3://shop/in/", "-r", "-o", "out/")
    assert done.returncode == 0, done.stderr
    assert b"s3://shop/in/odd: is left out" in done.stderr
    made = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png"))
    assert made == sorted(str(Path(name).with_suffix(".png")) for name in photos)


def test_public_buckets_are_read_without_a_signature(
    store: Store, photos: list[str], u2cut: Command
) -> None:
    assert u2cut("remove", "s3://shop/in/a.jpg", "-o", "a.png").returncode == 0
    assert {signed for _, signed in store.asked_signed} == {True}
    store.asked_signed.clear()
    words = ("s3://shop/in/", "-o", "s3://shop/out/", "--no-sign", "--overwrite")
    assert u2cut("remove", *words).returncode == 0
    assert {key.split("/")[0] for key, signed in store.asked_signed if not signed} == {"", "in"}
    assert {key.split("/")[0] for key, signed in store.asked_signed if signed} == {"out"}


def test_a_dry_run_of_a_bucket_reads_no_photo(
    store: Store, photos: list[str], u2cut: Command
) -> None:
    done = u2cut("remove", "s3://shop/in/", "-r", "-o", "s3://shop/out/", "--dry-run")
    lines = done.stdout.decode().splitlines()
    assert [line.split("\t")[1] for line in lines][:2] == [
        "s3://shop/out/a.png", "s3://shop/out/b c.png",
    ]  # fmt: skip
    assert {key for _, key in store.asked} == {""}


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_whatever_kills_a_run_leaves_no_part_of_a_result(
    store: Store, shop: tuple[Store, str], tmp_path: Path, kills: int
) -> None:
    for number in range(12):
        store.objects["shop", f"in/{number:02}.jpg"] = jpeg(number)
    words = ["remove", "s3://shop/in/", "-o", "s3://shop/out/", "--skip-existing"]
    network = ["--model", "u2netp", "--offline", "--size", "64", "--engine", "torch"]
    command = [sys.executable, "-m", "u2cut", *words, *network]
    where = {"env": environment(shop[1]), "stderr": subprocess.DEVNULL}
    draw = random.Random(3)

    def whole() -> set[str]:
        found = {key for key in store.keys("shop") if key.startswith("out/")}
        for key in found:
            with Image.open(io.BytesIO(store.objects["shop", key])) as picture:
                picture.load()
        return found

    for _ in range(kills):
        before = len(whole())
        process = subprocess.Popen(command, **where)
        deadline = time.monotonic() + 60
        while len(store.keys("shop")) < 12 + before + 1 and time.monotonic() < deadline:
            if process.poll() is not None:
                break
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        process.wait()
        if len(whole()) == 12:
            for key in list(whole())[:9]:
                del store.objects["shop", key]
    assert subprocess.run(command, **where, timeout=120).returncode == 0
    assert whole() == {f"out/{number:02}.png" for number in range(12)}


@pytest.mark.parametrize("count", [20_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_a_long_listing_takes_no_memory(store: Store, shop: tuple[Store, str], count: int) -> None:
    for number in range(count):
        store.objects["shop", f"many/{number:09}-a-name-of-usual-length.jpg"] = b""
    script = """
import resource, sys
from u2cut.batch.plan import plan
from u2cut.options import InputOptions, OutputOptions
used = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
import obstore
before = used()
output = OutputOptions(output="s3://shop/out/")
with plan(("s3://shop/many/",), InputOptions(), output, label="cutout") as jobs:
    print(len(jobs), used() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(shop[1]), capture_output=True, timeout=200
    )
    found, grown = map(int, done.stdout.split())
    assert found == count
    assert grown < 150


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "web"
    folder.mkdir()
    (folder / "a b.jpg").write_bytes(jpeg())
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_photos_on_the_web(web: str, u2cut: Command, tmp_path: Path) -> None:
    address = f"{web}/a%20b.jpg?size=full"
    assert u2cut("remove", address, "-o", "out/").returncode == 0
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a b.png"]
    assert u2cut("remove", address, "-o", "x.png").returncode == 0
    assert u2cut("remove", address).returncode == 2  # beside its photo it can't be
    missing = u2cut("remove", f"{web}/none.jpg", "-o", "y.png")
    assert missing.returncode == 3
    assert b"404" in missing.stderr
    assert u2cut("remove", f"{web}/", "-o", "z/").returncode == 3  # a page, no photo


def test_other_places_are_reached_through_fsspec(tmp_path: Path) -> None:
    """Memory is a file system of fsspec's own, and lives as long as a process."""
    script = f"""
import fsspec
from u2cut.files import remote
from u2cut.cli.app import run
files = fsspec.filesystem("memory")
files.pipe_file("/in/a.jpg", open({str(tmp_path / "a.jpg")!r}, "rb").read())
import sys
words = ["remove", "memory://in/", "-o", "memory://out/", "--model", "u2netp", "--offline",
         "--size", "64", "--engine", "torch"]
assert run(words) in (0, None)
assert files.cat_file("/out/a.png").startswith(b"\\x89PNG")
assert run(words) == 4
assert run([*words, "--overwrite"]) in (0, None)
"""
    (tmp_path / "a.jpg").write_bytes(jpeg())
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_without_its_package_the_extra_is_named(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["obstore"] = None
from u2cut.cli.app import run
sys.exit(run(["remove", "s3://shop/a.jpg", "-o", "a.png", "--model", "u2netp"]))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 6, done.stderr
    assert b"u2cut[remote]" in done.stderr


def test_nothing_remote_is_loaded_for_local_photos(tmp_path: Path) -> None:
    script = "import sys, u2cut.cli.app, u2cut.cli.batch; print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.stdout.strip() == b"False"


def test_a_data_set_far_away_is_judged_like_a_local_one(
    store: Store, shop: tuple[Store, str], u2cut: Command, tmp_path: Path
) -> None:
    place = tmp_path / "val"
    for name in ("images", "masks"):
        (place / name).mkdir(parents=True)
    for number in range(3):
        (place / f"images/{number}.jpg").write_bytes(jpeg(number))
        mask = np.zeros(np.asarray(Image.open(io.BytesIO(jpeg(number)))).shape[:2], np.uint8)
        mask[5:20, 5:20] = 255
        Image.fromarray(mask).save(place / f"masks/{number}.png")
    for path in place.rglob("*.*"):
        store.objects["shop", f"sets/{path.relative_to(tmp_path)}"] = path.read_bytes()
    options = ("--model", "u2netp", "--offline", "--size", "64", "--json", "-q")
    here = u2cut("eval", "--data", place, *options)
    assert here.returncode == 0, here.stderr
    there = u2cut("eval", "--data", "s3://shop/sets/val", *options)
    assert there.stdout == here.stdout, there.stderr
    apart = ("--images", "s3://shop/sets/val/images", "--masks", "s3://shop/sets/val/masks")
    assert (
        json.loads(u2cut("eval", *apart, *options).stdout)["overall"]
        == (json.loads(here.stdout)["overall"])
    )
    missing = u2cut("eval", "--data", "s3://nowhere/val", *options)
    assert missing.returncode != 0
    assert b"there is no such bucket" in missing.stderr
    assert b"Traceback" not in missing.stderr
