"""Each option of remove and mask makes a difference that can be seen, on a drawn subject.

The engine is drawn, too: its map is the photo's red channel, so that a picture decides what the
subject is. What engines make of real photos is tested where they are.
"""

import io
import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from u2cut.batch import run as batch_run
from u2cut.batch.stages import worker_count
from u2cut.cli.app import run
from u2cut.engines import predictor
from u2cut.saliency import MEAN, STD

Picture = NDArray[np.uint8]
SIDE = 192
# Centres (x, y): the main subject with a hole in it, a smaller one, and a speck.
MAIN, HOLE, SECOND, SPECK = (70, 96), (70, 96), (150, 60), (160, 150)


def drawn() -> Picture:
    photo = np.full((SIDE, SIDE, 3), (30, 90, 60), np.uint8)
    photo[..., 1:] += np.random.default_rng(0).integers(0, 12, (SIDE, SIDE, 2)).astype(np.uint8)
    for centre, radius in ((MAIN, 48), (SECOND, 16), (SPECK, 4)):
        cv2.circle(photo, centre, radius, (235, 120, 70), -1, cv2.LINE_AA)
    cv2.circle(photo, HOLE, 4, (30, 95, 65), -1, cv2.LINE_AA)
    return photo


class Engine:
    """Its map is the red channel; it keeps the shapes of what it was shown."""

    name, device, at_once, batch_size, any_size = "drawn", "cpu", 1, 4, True

    def __init__(self, opened: dict[str, object]) -> None:
        self.opened, self.precision = opened, "fp32"
        self.shapes: list[tuple[int, ...]] = []

    def predict(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shapes.append(batch.shape)
        time.sleep(0.02)
        return np.clip(batch[:, 0] * STD[0] + MEAN[0], 0, 1)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines that the commands of a test opened."""
    opened: list[Engine] = []

    def open_engine(path: Path, **options: object) -> Engine:
        opened.append(Engine({"path": path, **options}))
        return opened[-1]

    monkeypatch.setattr(predictor, "open_engine", open_engine)
    return opened


@pytest.fixture
def made(engine: list[Engine], tmp_path: Path) -> Callable[..., bytes]:
    """Return a function that runs a command on the drawn photo and returns the file it wrote."""
    photo = tmp_path / "photo.png"
    Image.fromarray(drawn()).save(photo)
    count = 0

    def make(command: str, *options: str, ending: str = "png", network: str = "u2netp") -> bytes:
        nonlocal count
        count += 1
        target = tmp_path / f"{count}.{ending}"
        named = [] if "--weights" in options else ["--model", network]
        words = [command, str(photo), "-o", str(target), "--offline", *named, *options]
        assert run(words) == 0
        return target.read_bytes()

    return make


def pixels(data: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image).astype(np.int64)


def alpha_of(data: bytes) -> NDArray[np.int64]:
    return pixels(data)[..., 3]


def at(plane: NDArray[np.int64], centre: tuple[int, int]) -> int:
    return int(plane[centre[1], centre[0]])


def partial(plane: NDArray[np.int64]) -> int:
    return int(np.count_nonzero((plane > 0) & (plane < 255)))


CUTOUT: dict[tuple[str, ...], Callable[[bytes, bytes], bool]] = {
    ("--clean",): lambda without, with_: (
        at(alpha_of(without), SPECK) > 200
        and at(alpha_of(with_), SPECK) == 0
        and at(alpha_of(without), HOLE) < 50
        and at(alpha_of(with_), HOLE) > 200
    ),
    ("--largest",): lambda without, with_: (
        at(alpha_of(without), SECOND) > 200 and at(alpha_of(with_), SECOND) == 0
    ),
    ("--feather", "5"): lambda without, with_: (
        partial(alpha_of(with_)) > 2 * partial(alpha_of(without))
    ),
    ("--erode", "6"): lambda without, with_: alpha_of(with_).sum() < 0.85 * alpha_of(without).sum(),
    ("--threshold", "0.9"): lambda without, with_: (
        partial(alpha_of(without)) > 0 and partial(alpha_of(with_)) == 0
    ),
    ("--matting", "fast"): lambda without, with_: (
        np.abs(alpha_of(with_) - alpha_of(without)).max() > 20
    ),
    ("--keep-hidden-colours",): lambda without, with_: bool(
        not pixels(without)[5, 5].any() and pixels(with_)[5, 5, :3].any()
    ),
    ("--background", "#00ff00"): lambda without, with_: pixels(with_)[5, 5].tolist() == [0, 255, 0],
    ("--crop",): lambda without, with_: pixels(with_).shape[0] < pixels(without).shape[0],
}


@pytest.mark.parametrize("options", list(CUTOUT), ids=lambda o: o[0] if len(o) < 3 else o[1])
def test_the_cutout_shows_the_option(made: Callable[..., bytes], options: tuple[str, ...]) -> None:
    plain = () if "--matting" in options else ("--matting", "none")
    without = made("remove", "--matting", "none")
    assert CUTOUT[options](without, made("remove", *plain, *options))


def test_decontamination_changes_the_colours_of_the_edge(made: Callable[..., bytes]) -> None:
    clean, left = pixels(made("remove")), pixels(made("remove", "--no-decontaminate"))
    assert (clean[..., 3] == left[..., 3]).all()
    edge = (clean[..., 3] > 30) & (clean[..., 3] < 225)
    assert (clean[edge, :3] != left[edge, :3]).any()
    inside = clean[..., 3] == 255
    assert (left[inside, :3] == drawn()[inside]).all()


MASK: dict[tuple[str, ...], Callable[[NDArray[np.int64]], bool]] = {
    (): lambda grey: set(np.unique(grey)) == {0, 255},
    ("--alpha",): lambda grey: partial(grey) > 50,
    ("--saliency",): lambda grey: len(np.unique(grey)) > 20,
    ("--trimap",): lambda grey: set(np.unique(grey)) == {0, 128, 255},
    ("--invert",): lambda grey: at(grey, (70, 130)) == 0 and grey[5, 5] == 255,
}


@pytest.mark.parametrize("options", list(MASK), ids=lambda o: "".join(o) or "mask")
def test_the_mask_shows_the_option(made: Callable[..., bytes], options: tuple[str, ...]) -> None:
    assert MASK[options](pixels(made("mask", *options)))


def test_best_sees_other_views_and_zoom_looks_closer(
    made: Callable[..., bytes], engine: list[Engine]
) -> None:
    made("remove")
    made("remove", "--matting", "best", "--no-zoom")
    sides = [[shape[-1] for shape in one.shapes] for one in engine]
    assert sides[0] == [320]
    assert sorted(sides[1]) == [224, 256, 320, 320]
    assert sorted(sides[2]) == [224, 256, 320, 320]  # another network's opinion
    assert [Path(str(one.opened["path"])).stem for one in engine] == ["u2netp", "u2netp", "lite"]


def test_best_opens_what_it_needs_while_the_photo_is_read(
    engine: list[Engine], tmp_path: Path
) -> None:
    even = tmp_path / "even.png"
    Image.new("RGB", (64, 64), "white").save(even)  # no subject: nobody is asked about it
    for command in (["remove"], ["mask", "--alpha"]):
        engine.clear()
        words = [*command, str(even), "-o", str(tmp_path / f"{command[0]}.png"), "--offline"]
        assert run([*words, "--model", "u2netp", "--matting", "best"]) == 0
        deadline = time.monotonic() + 20
        while len(engine) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [Path(str(one.opened["path"])).stem for one in engine] == ["u2netp", "lite"]
        assert engine[1].shapes == []


def test_zoom_predicts_the_small_subject_again(engine: list[Engine], tmp_path: Path) -> None:
    photo = np.full((600, 900, 3), (30, 90, 60), np.uint8)
    cv2.circle(photo, (450, 300), 30, (235, 120, 70), -1, cv2.LINE_AA)
    Image.fromarray(photo).save(tmp_path / "small.png")
    for number, options in enumerate(([], ["--zoom"])):
        words = ["remove", str(tmp_path / "small.png"), "-o", str(tmp_path / f"{number}.png")]
        assert run([*words, "--model", "u2netp", "--offline", *options]) == 0
    assert len(engine[0].shapes) == 1
    assert len(engine[1].shapes) > 1


@pytest.mark.parametrize(
    ("ending", "small", "large"),
    [
        ("png", ("--compression", "9"), ("--compression", "0")),
        ("tiff", ("--compression", "6"), ("--compression", "0")),
        ("webp", ("--quality", "10"), ("--quality", "95")),
        ("avif", ("--quality", "10"), ("--quality", "95")),
    ],
)
def test_the_encoder_is_told_how_hard_to_try(
    made: Callable[..., bytes], ending: str, small: tuple[str, ...], large: tuple[str, ...]
) -> None:
    sizes = [len(made("remove", *options, ending=ending)) for options in (small, large)]
    assert sizes[0] < 0.9 * sizes[1]


def test_the_engine_is_opened_as_asked_for(
    made: Callable[..., bytes], engine: list[Engine], tmp_path: Path
) -> None:
    from u2cut.weights.registry import bundled_path

    own = tmp_path / "own.safetensors"
    own.write_bytes(bundled_path("u2netp").read_bytes())
    made("remove")
    made("remove", "--weights", str(own))
    made("remove", "--size", "96", "--engine", "torch", "--device", "cpu", "--precision", "fp32")
    assert [one.opened["path"] for one in engine] == [
        bundled_path("u2netp"),
        own,
        bundled_path("u2netp"),
    ]
    chosen = {"size": 96, "engine": "torch", "device": "cpu", "precision": "fp32"}
    assert chosen.items() <= engine[2].opened.items()
    assert engine[0].opened["size"] == 320


@pytest.mark.parametrize(("asked", "largest"), [("1", 1), ("3", 3)])
def test_batches_are_as_large_as_asked_for(
    engine: list[Engine], tmp_path: Path, asked: str, largest: int
) -> None:
    for number in range(9):
        Image.fromarray(drawn()).save(tmp_path / f"{number}.png")
    words = ["remove", str(tmp_path), "-o", str(tmp_path / "out"), "--matting", "none"]
    words += ["--model", "u2netp", "--offline", "--batch-size", asked]
    assert run(words) == 0
    assert max(shape[0] for shape in engine[0].shapes) == largest


def test_as_many_threads_work_as_asked_for(
    made: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | None] = []

    def count(jobs: int | None) -> int:
        seen.append(jobs)
        return worker_count(jobs)

    monkeypatch.setattr(batch_run, "worker_count", count)
    made("remove")
    made("remove", "--jobs", "3")
    assert seen == [None, 3]
    assert worker_count(3) == 3


@pytest.mark.parametrize("product", ["--saliency", "--trimap"])
def test_what_needs_no_matte_computes_none(
    made: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, product: str
) -> None:
    from u2cut import matting

    def never(*_: object) -> None:
        raise AssertionError("a matte was computed")

    monkeypatch.setattr(matting, "alpha_matte", never)
    made("mask", product)


def test_quality_of_a_lossless_format_is_refused(tmp_path: Path, capfd) -> None:
    photo = tmp_path / "a.png"
    Image.fromarray(drawn()).save(photo)
    assert run(["remove", str(photo), "-o", str(tmp_path / "b.png"), "--quality", "80"]) == 2
    assert "--quality" in capfd.readouterr().err


def test_the_order_of_other_tools_is_refused_before_any_work(tmp_path: Path, capfd) -> None:
    (tmp_path / "in").mkdir()
    photo = tmp_path / "in/a.png"
    Image.fromarray(drawn()).save(photo)
    (tmp_path / "out").mkdir()
    for words in ((photo, tmp_path / "b.png"), (tmp_path / "in", tmp_path / "out")):
        assert run(["remove", *map(str, words)]) == 2
        assert f"did you mean -o {words[1]}?" in capfd.readouterr().err
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["a.png"]


def box_of(data: bytes) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is visible."""
    rows, columns = np.nonzero(alpha_of(data) > 128)
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1


def test_the_subject_stands_on_its_canvas(made: Callable[..., bytes]) -> None:
    def box(*options: str) -> tuple[int, int, int, int]:
        data = made("remove", "--matting", "none", "--largest", "--canvas", "80x100", *options)
        assert pixels(data).shape == (100, 80, 4)
        return box_of(data)

    top, bottom, left, right = box()  # 85 % of the width
    assert abs((right - left) - 68) <= 2
    assert abs((left + right) - 80) <= 2
    assert abs((top + bottom) - 100) <= 2
    _, _, narrow, wide = box("--fill", "50%")
    assert abs((wide - narrow) - 40) <= 2
    assert abs(box("--position", "bottom")[1] - 92) <= 2
    assert max(box("--position", "0%,0%")[:3:2]) <= 1


def test_the_subject_grows_only_when_it_is_asked_for(made: Callable[..., bytes]) -> None:
    options = ("--matting", "none", "--largest", "--canvas", "400x400")
    plain, large = box_of(made("remove", *options)), box_of(made("remove", *options, "--enlarge"))
    assert abs((plain[1] - plain[0]) - 96) <= 3
    assert abs((large[1] - large[0]) - 340) <= 8


@pytest.mark.parametrize("command", [("mask",), ("mask", "--alpha")])
def test_masks_stand_on_the_same_canvas(
    made: Callable[..., bytes], command: tuple[str, ...]
) -> None:
    grey = pixels(made(*command, "--largest", "--canvas", "square"))
    assert grey.shape[0] == grey.shape[1]
    rows = np.nonzero((grey > 128).any(axis=1))[0]
    assert abs(len(rows) / grey.shape[0] - 0.85) < 0.03


@pytest.mark.parametrize("behind", [("--background", "#00ff00"), ("--background-blur", "4")])
def test_backgrounds_cover_the_canvas(made: Callable[..., bytes], behind: tuple[str, str]) -> None:
    result = pixels(made("remove", "--canvas", "90x70", *behind))
    assert result.shape == (70, 90, 3)
    assert result[2, 2].max() > 30


@pytest.mark.parametrize(
    "options",
    [("--fill", "50%"), ("--enlarge",), ("--canvas", "square", "--crop")],
)
def test_a_canvas_that_contradicts_itself_is_refused(tmp_path: Path, options, capfd) -> None:
    photo = tmp_path / "a.png"
    Image.fromarray(drawn()).save(photo)
    assert run(["remove", str(photo), *options]) == 2
    assert "--canvas" in capfd.readouterr().err


def test_on_a_canvas_the_blur_shows_no_ghost_of_the_subject(made: Callable[..., bytes]) -> None:
    options = ("--matting", "none", "--canvas", "192x192", "--fill", "20%")
    result = pixels(made("remove", *options, "--background-blur", "6"))
    where_it_was = result[MAIN[1] - 40 : MAIN[1] - 25, MAIN[0] - 10 : MAIN[0] + 10]
    assert where_it_was[..., 0].max() < 60  # the subject's red is 235


def test_an_inverted_trimap_keeps_what_is_unknown(made: Callable[..., bytes]) -> None:
    plain, inverted = pixels(made("mask", "--trimap")), pixels(made("mask", "--trimap", "--invert"))
    assert set(np.unique(inverted)) == {0, 128, 255}
    assert ((plain == 128) == (inverted == 128)).all()


def test_a_trimap_of_a_lossy_format_is_refused(tmp_path: Path, capfd) -> None:
    photo = tmp_path / "a.png"
    Image.fromarray(drawn()).save(photo)
    assert run(["mask", "--trimap", str(photo), "-o", str(tmp_path / "t.jpg")]) == 2
    assert "write png" in capfd.readouterr().err


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    engine: list[Engine], tmp_path: Path, capfdbinary
) -> None:
    for name in ("a.png", "b\nb.png"):
        Image.fromarray(drawn()).save(tmp_path / name)
    out = tmp_path / "out"
    out.mkdir()
    (out / "a.png").touch()
    words = ["remove", str(tmp_path), "-o", f"{out}/", "--skip-existing", "--dry-run"]
    assert run(words) == 0
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert lines == [
        f"{tmp_path}/a.png\t{out}/a.png\tskipped",
        f"{tmp_path}/b\\nb.png\t{out}/b\\nb.png\tplanned",
    ]
    assert run([*words, "--json"]) == 0
    entries = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [entry["status"] for entry in entries] == ["skipped", "planned"]
    assert entries[1]["input"] == f"{tmp_path}/b\nb.png"
    assert [p.name for p in out.iterdir()] == ["a.png"]
    assert not engine


def test_a_dry_run_refuses_what_a_run_would(tmp_path: Path, capfd) -> None:
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    (tmp_path / "b.png").touch()
    words = ["remove", str(tmp_path / "a.png"), "-o", str(tmp_path / "b.png"), "--dry-run"]
    assert run(words) == 4
    assert "--overwrite" in capfd.readouterr().err


def test_on_a_terminal_the_end_says_how_many_and_where(tmp_path: Path) -> None:
    Image.fromarray(drawn()).save(tmp_path / "a.png")
    ours, theirs = pty.openpty()
    words = ["remove", tmp_path / "a.png", "-o", f"{tmp_path}/out/", "--model", "u2netp"]
    with subprocess.Popen(
        [sys.executable, "-m", "u2cut", *words, "--size", "64", "--engine", "torch"], stderr=theirs
    ) as process:
        os.close(theirs)
        shown = bytearray()
        while True:
            try:
                chunk = os.read(ours, 1 << 16)
            except OSError:  # Linux's word for the other end having closed
                break
            if not chunk:
                break
            shown += chunk
    os.close(ours)
    assert process.returncode == 0
    assert f"u2cut: 1 ok in {tmp_path}/out/" in shown.decode()


def test_the_margin_of_a_crop_is_left_on_all_sides(made: Callable[..., bytes]) -> None:
    options = ("--matting", "none", "--largest", "--crop")
    tight = pixels(made("remove", *options)).shape
    wide = pixels(made("remove", *options, "--crop-margin", "8")).shape
    assert (wide[0] - tight[0], wide[1] - tight[1]) == (16, 16)
