"""What new users stumbled over: each is answered, and by what to do."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.ellipses import write_set
from tests.pictures import Outcome, disc_photo
from u2cut import Remover
from u2cut.weights.registry import bundled_path

Run = Callable[..., Outcome]


def test_results_of_earlier_runs_are_left_out_by_one_rule(
    u2cut: Run, disc: Path, tmp_path: Path
) -> None:
    folder = disc.parent
    for name in ("disc.cutout.png", "disc.mask.png", "disc.png.cutout.webp", "own.mask.png"):
        shutil.copy(disc, folder / name)
    words = ("--dry-run", "--overwrite")
    for where in ([], ["-o", f"{tmp_path}/elsewhere/"]):
        found = u2cut("remove", folder, *where, *words)
        inputs = [line.split("\t")[0] for line in found.out.decode().splitlines()]
        assert {Path(name).name for name in inputs} >= {disc.name, "own.mask.png"}
        assert not {Path(name).name for name in inputs} & {"disc.cutout.png", "disc.mask.png"}
        assert "results of earlier runs (*.cutout.*, *.mask.*) are left out" in found.err


def without_roots_rights() -> None:
    """Let even root be refused what a file's rights refuse (prctl(2), capabilities(7))."""
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
            assert ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="takes root's rights away as Linux does")
def test_a_folder_that_can_not_be_listed_is_told_to_scripts(disc: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(disc, photos)
    (photos / "locked").mkdir(mode=0)
    command = [sys.executable, "-m", "u2cut", "remove", photos, "-r", "-o", tmp_path / "out/"]
    done = subprocess.run(
        [*command, "--model", "u2netp", "--offline", "--engine", "torch"],
        capture_output=True,
        text=True,
        preexec_fn=without_roots_rights,
    )
    assert done.returncode == 8, done.stderr
    assert "locked: can't be listed (Permission denied)" in done.stderr
    assert (tmp_path / "out" / disc.with_suffix(".png").name).exists()
    (photos / "locked").chmod(0o700)


def test_an_empty_folder_beside_a_photo_is_named(u2cut: Run, disc: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = u2cut("remove", tmp_path / "empty", disc, "-o", tmp_path / "out/")
    assert done.code == 0
    assert "empty: no photos in this folder; --recursive" in done.err


def test_a_result_that_options_made_empty_is_warned_about(
    u2cut: Run, disc: Path, tmp_path: Path
) -> None:
    done = u2cut("remove", disc, "-o", tmp_path / "a.png", "--erode", "500")
    assert "nothing is left of the subject (--erode" in done.err


def test_names_that_collide_are_told_apart_by_what_works(u2cut: Run, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mug.jpg").touch()
    done = u2cut("remove", tmp_path / "a", tmp_path / "b", "-r", "-o", tmp_path / "out/")
    assert done.code == 4
    assert "name the folder above both" in done.err
    planned = u2cut("remove", tmp_path, "-r", "-o", tmp_path / "out/", "--dry-run")
    assert planned.code == 0
    (tmp_path / "a" / "mug.png").touch()
    done = u2cut("remove", tmp_path / "a", "-o", tmp_path / "out/")
    assert "use --keep-ending" in done.err
    words = ("remove", tmp_path / "a", "-o", tmp_path / "out/", "--keep-ending", "--dry-run")
    assert u2cut(*words).code == 0


def test_an_output_that_looks_like_a_file_says_how_a_folder_is_named(
    u2cut: Run, disc: Path, tmp_path: Path
) -> None:
    done = u2cut("remove", disc, "-o", tmp_path / "my.photos")
    assert "a folder's name ends with /" in done.err


def test_the_weights_that_ship_need_no_import(u2cut: Run) -> None:
    done = u2cut("weights", "import", bundled_path("u2netp"), "--name", "u2netp")
    assert done.code == 0
    assert "ships with u2cut" in done.err


def test_the_variable_that_names_no_weights_is_named(
    u2cut: Run, disc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("U2CUT_MODEL", "bad")
    command = [sys.executable, "-m", "u2cut", "remove", disc, "-o", tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 5
    assert "'bad', as U2CUT_MODEL says" in done.stderr


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x20ftypisom", b"\0\0\0\x14ftypqt  ", b"\x1aE\xdf\xa3\x9fB\x86\x81"]
)
def test_a_video_is_called_one(u2cut: Run, tmp_path: Path, head: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(head + bytes(100))
    done = u2cut("remove", tmp_path / "film.mp4", "-o", tmp_path / "a.png")
    assert done.code == 3
    assert "this is a video: save single frames" in done.err


@pytest.mark.parametrize("words", [["remove"], ["weights", "list"], ["eval"], []])
def test_help_is_the_same_without_docstrings(words: list[str]) -> None:
    command = [sys.executable, "-m", "u2cut", *words, "--help"]
    plain = subprocess.run(command, capture_output=True, check=True).stdout
    bare = {**os.environ, "PYTHONOPTIMIZE": "2"}
    assert subprocess.run(command, capture_output=True, check=True, env=bare).stdout == plain


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_forked_process_is_told_so_and_does_not_hang(engine: str) -> None:
    code = (
        "import os, sys, numpy as np\n"
        "from u2cut import Remover\n"
        "from u2cut.errors import DeviceError\n"
        f"remover = Remover('u2netp', engine={engine!r}, size=96)\n"
        "photo = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)\n"
        "remover.remove(photo)\n"
        "if child := os.fork():\n"
        "    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try: remover.remove(photo)\n"
        "except DeviceError as e: os._exit('spawn' in str(e))\n"
        "os._exit(7)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60)
    assert done.returncode == 1


def test_a_runs_folder_stands_for_its_weights(tmp_path: Path) -> None:
    shutil.copy(bundled_path("u2netp"), tmp_path / "model.safetensors")
    cutout = Remover(weights=tmp_path, size=96, matting="none").remove(disc_photo())
    expected = Remover("u2netp", size=96, matting="none").remove(disc_photo())
    assert np.array_equal(cutout.alpha, expected.alpha)


def test_measuring_on_what_is_trained_on_is_warned_about(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set", 3)
    command = [sys.executable, "-m", "u2cut", "train", "--data", data, "--val", data]
    command += ["--out", tmp_path / "run", "--steps", "1", "--batch-size", "1"]
    command += ["--model", "u2netp", "--resize", "64", "--crop", "0", "--workers", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "3 photos of --val are trained on, too" in done.stderr


def test_a_list_read_with_the_wrong_separator_fills_no_screen(u2cut: Run, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("photo.jpg\n" * 20_000)
    done = u2cut("remove", "--from-file", tmp_path / "list", "-0", "-o", tmp_path / "out/")
    assert done.code != 0
    assert len(done.err) < 2000
