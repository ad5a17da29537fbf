"""The page in a real browser; skipped where chromium or playwright isn't installed."""

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.pictures import disc_photo
from tests.service.conftest import Server

playwright = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page's tests need chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(server.address)
    yield page
    context.close()
    assert [text for text in said if "422" not in text] == []


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("one.png", "two.png")]
    for path in paths:
        Image.fromarray(disc_photo()).resize((384, 288)).save(path)
    return paths


def downloaded(page: Any, button: Any) -> bytes:
    with page.expect_download() as waiting:
        button.click()
    return Path(waiting.value.path()).read_bytes()


FOCUSED = "() => { const e = document.activeElement; return e.className || e.id || e.name; }"


def alpha(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGBA"))[..., 3]


def test_photos_are_cut_out_compared_and_downloaded(page: Any, photos: list[Path]) -> None:
    page.set_input_files("#choose", photos)
    page.get_by_text("2 of 2 done").wait_for(timeout=60_000)
    compare = page.locator(".compare").first
    compare.fill("60")
    assert "40%" in page.locator(".before").first.get_attribute("style")
    shown = alpha(downloaded(page, page.locator("a.download").first))
    assert shown[5, 5] == 0
    assert shown[144, 192] == 255
    packed = zipfile.ZipFile(io.BytesIO(downloaded(page, page.locator("#all"))))
    assert packed.testzip() is None
    assert packed.namelist() == ["one.cutout.png", "two.cutout.png"]
    page.locator(".remove").first.click()
    page.get_by_text("1 of 1 done").wait_for()


def test_a_background_is_put_behind(page: Any, photos: list[Path]) -> None:
    page.get_by_label("Background colour").fill("#00ff00")
    page.set_input_files("#choose", photos[:1])
    page.get_by_text("1 of 1 done").wait_for(timeout=60_000)
    with Image.open(io.BytesIO(downloaded(page, page.locator("a.download")))) as picture:
        assert picture.convert("RGB").getpixel((3, 3)) == (0, 255, 0)
    page.locator("input[name=background]").first.check()
    page.locator("#again").click()
    page.get_by_text("0 of 1 done").wait_for()
    page.get_by_text("1 of 1 done").wait_for(timeout=60_000)
    assert alpha(downloaded(page, page.locator("a.download")))[3, 3] == 0


def test_a_brush_erases_and_restores_and_can_be_undone(page: Any, photos: list[Path]) -> None:
    page.set_input_files("#choose", photos[:1])
    page.get_by_text("1 of 1 done").wait_for(timeout=60_000)
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def stroke(x: float, y: float) -> None:
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + x * box["width"] + 4, box["y"] + y * box["height"] + 4)
        page.mouse.up()

    page.get_by_role("button", name="Erase").click()
    stroke(0.5, 0.5)
    assert alpha(downloaded(page, page.locator("a.download")))[146, 194] == 0
    page.get_by_role("button", name="Undo").click()
    assert alpha(downloaded(page, page.locator("a.download")))[146, 194] == 255
    page.get_by_role("button", name="Restore").click()
    stroke(0.06, 0.08)
    assert alpha(downloaded(page, page.locator("a.download")))[24, 24] == 255


def test_an_error_stands_at_its_photo_and_costs_no_other(
    page: Any, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    page.set_input_files("#choose", [tmp_path / "bad.png", photos[0]])
    page.get_by_text("1 of 2 done").wait_for(timeout=60_000)
    assert "not a picture" in page.locator("article.failed .message").text_content()


def test_the_keyboard_suffices(page: Any, photos: list[Path]) -> None:
    page.set_input_files("#choose", photos[:1])
    page.get_by_text("1 of 1 done").wait_for(timeout=60_000)
    page.locator("#choose").focus()
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.locator("html").evaluate(FOCUSED))
    wanted = {"background", "matting", "largest", "crop", "again", "all", "compare", "erase"}
    assert wanted | {"restore", "download", "remove"} <= reached
    page.locator(".remove").focus()
    page.keyboard.press("Enter")
    assert page.locator("article").count() == 0


def test_a_phone_scrolls_one_way_only(browser: Any, server: Server, photos: list[Path]) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
        page = context.new_page()
        page.goto(server.address)
        page.set_input_files("#choose", photos)
        page.get_by_text("2 of 2 done").wait_for(timeout=60_000)
        assert page.locator("html").evaluate("e => e.scrollWidth") <= 360
        context.close()
