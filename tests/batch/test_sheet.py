"""The contact sheet of a run, and how sure each of its photos is."""

import base64
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.pictures import Outcome
from u2cut import Remover
from u2cut.batch.result import DOUBTFUL
from u2cut.batch.summary import summarise_journal
from u2cut.saliency import confidence

Run = Callable[..., Outcome]


def disc(softness: float, size: int = 96, radius: int = 28) -> np.ndarray:
    grey = np.zeros((size, size), np.float32)
    cv2.circle(grey, (size // 2, size // 2), radius, 1, -1)
    return cv2.GaussianBlur(grey, (0, 0), softness) if softness else grey


def test_confidence_falls_with_doubt_and_with_disagreement() -> None:
    sharp, soft = disc(0), disc(9)
    assert 1 > confidence(sharp) > confidence(soft) > 0
    same, other = [sharp, disc(0, 64, 19)], [np.roll(sharp, 20, axis=0), disc(0, 96, 14)]
    assert confidence(sharp, same) > confidence(sharp, other)
    assert confidence(sharp, other) > confidence(sharp, [None, None])


def test_a_cutout_says_how_sure_it_is(disc_path: Path) -> None:
    for matting in ("fast", "best"):
        sure = Remover("u2netp", matting=matting).remove(disc_path).confidence
        assert 0.5 < sure <= 1
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert Remover("u2netp", size=96).remove(flat).confidence == 0


@pytest.fixture
def disc_path(disc: Path) -> Path:  # the shared photo, beside the map that is called disc here
    return disc


@pytest.fixture
def journal(u2cut: Run, tmp_path: Path, disc: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "<b>noise&.png")
    journal = tmp_path / "night.jsonl"
    words = ("remove", disc, tmp_path / "<b>noise&.png", "-o", tmp_path / "out/")
    assert u2cut(*words, "--journal", journal, "--json").code == 0
    return journal


def test_the_sheet_shows_the_least_certain_first_and_needs_no_other_host(
    u2cut: Run, journal: Path, disc: Path
) -> None:
    page = journal.with_name("review.html")
    assert u2cut("report", journal, "--sheet", page).code == 0
    text = page.read_text()
    assert not re.findall(r"https?://", text)
    assert "<b>noise" not in text  # names are escaped
    shown = [float(v) for v in re.findall(r"<b>([\d.]+)</b>", text)]
    assert shown == sorted(shown)
    assert len(shown) == 2
    pictures = [base64.b64decode(d) for d in re.findall(r"base64,([^\"]+)", text)]
    assert len(pictures) == 4
    place = text.index(disc.name)
    last = re.findall(r"base64,([^\"]+)", text[:place])[-1]
    with Image.open(io.BytesIO(base64.b64decode(last))) as after:
        corner = np.asarray(after.convert("RGB"))[2, 2].astype(int)
    assert np.abs(corner - (0, 177, 64)).max() < 12  # on green


def test_a_sheet_is_not_replaced_unasked_and_holds_as_many_as_asked_for(
    u2cut: Run, journal: Path
) -> None:
    page = journal.with_name("review.html")
    page.write_text("mine")
    assert u2cut("report", journal, "--sheet", page).code == 4
    assert page.read_text() == "mine"
    assert u2cut("report", journal, "--sheet", page, "--overwrite", "--most", "1").code == 0
    assert page.read_text().count("<figure") == 1


def test_a_picture_that_is_gone_costs_its_place_only(u2cut: Run, journal: Path, disc: Path) -> None:
    (journal.parent / "out" / "disc.png").unlink()
    page = journal.with_name("review.html")
    assert u2cut("report", journal, "--sheet", page).code == 0
    assert "after: " in page.read_text()


def test_doubtful_results_are_counted(u2cut: Run, journal: Path, tmp_path: Path) -> None:
    records = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    doubtful = sum(r["confidence"] < DOUBTFUL for r in records)
    assert doubtful >= 1  # noise
    assert summarise_journal(journal).doubtful == doubtful
    assert f"doubtful  {doubtful:>9,}" in u2cut("report", journal).out.decode()
    found = u2cut("remove", tmp_path / "<b>noise&.png", "-o", tmp_path / "again/", "-v")
    assert "1 look doubtful" in found.err


def test_records_name_the_size_of_the_output(u2cut: Run, disc: Path, tmp_path: Path) -> None:
    words = ("remove", disc, "-o", tmp_path / "a.png", "--canvas", "200x150", "--json")
    record = json.loads(u2cut(*words).out)
    assert (record["output_width"], record["output_height"]) == (200, 150)
    assert (record["width"], record["height"]) == (128, 96)
