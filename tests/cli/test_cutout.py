"""``remove`` and ``mask`` in this process: options, outputs, exit codes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pictures import EXAMPLES, Outcome, disc_photo, opened

Run = Callable[..., Outcome]


def test_remove_writes_a_straight_rgba_cutout_beside_the_photo(u2cut: Run, disc: Path) -> None:
    assert u2cut("remove", disc) == Outcome(0, b"", "")
    cutout, photo = opened(disc.with_name("disc.cutout.png")), disc_photo()
    assert cutout.shape == (*photo.shape[:2], 4)
    alpha = cutout[..., 3]
    assert alpha[48, 64] == 255
    assert alpha[2, 2] == 0
    assert (cutout[alpha == 255, :3] == photo[alpha == 255]).all(), "colours inside are kept"
    assert not cutout[alpha == 0].any(), "hidden colours are zeroed"


def test_keep_hidden_colours_keeps_them(u2cut: Run, disc: Path) -> None:
    out = disc.with_name("out.png")
    assert u2cut("remove", disc, "-o", out, "--keep-hidden-colours").code == 0
    cutout = opened(out)
    hidden = cutout[..., 3] == 0
    assert (cutout[hidden, :3] == disc_photo()[hidden]).mean() > 0.99


def test_no_decontaminate_leaves_every_visible_colour_alone(u2cut: Run, disc: Path) -> None:
    out = disc.with_name("out.png")
    assert u2cut("remove", disc, "-o", out, "--no-decontaminate", "--matting", "none").code == 0
    cutout = opened(out)
    visible = cutout[..., 3] > 0
    assert (cutout[visible, :3] == disc_photo()[visible]).all()
    assert u2cut("remove", disc, "-o", out, "--overwrite", "--decontaminate").code == 0


def test_threshold_makes_the_edge_hard(u2cut: Run, disc: Path) -> None:
    for command in (("remove",), ("mask", "--alpha")):
        out = disc.with_name(f"{command[0]}.png")
        assert u2cut(*command, disc, "-o", out, "--threshold", "0.3").code == 0
        result = opened(out)
        alpha = result[..., 3] if result.ndim == 3 else result
        assert set(np.unique(alpha)) == {0, 255}


@pytest.mark.parametrize("color", ["white", "#ff0000", "0,255,0"])
def test_background_puts_the_subject_on_a_colour(u2cut: Run, disc: Path, color: str) -> None:
    out = disc.with_name("out.png")
    assert u2cut("remove", disc, "-o", out, "--background", color).code == 0
    result = opened(out)
    wanted = {"white": (255, 255, 255), "#ff0000": (255, 0, 0), "0,255,0": (0, 255, 0)}[color]
    assert result.shape[2] == 3
    assert tuple(result[1, 1]) == wanted


def test_background_image_covers(u2cut: Run, disc: Path) -> None:
    picture = disc.with_name("green.png")
    Image.new("RGB", (10, 30), (0, 200, 0)).save(picture)
    out = disc.with_name("out.webp")
    assert u2cut("remove", disc, "-o", out, "--background-image", picture).code == 0
    assert np.abs(opened(out)[1, 1].astype(int) - (0, 200, 0)).max() < 8


def test_background_blur_keeps_the_subject_sharp(u2cut: Run, disc: Path) -> None:
    out = disc.with_name("out.png")
    assert u2cut("remove", disc, "-o", out, "--background-blur", "6").code == 0
    result, photo = opened(out).astype(float), disc_photo().astype(float)
    assert result[:8].std(axis=(0, 1)).max() < 0.5 * photo[:8].std(axis=(0, 1)).min()
    assert (result[48, 64] == photo[48, 64]).all()


@pytest.mark.parametrize(
    ("margin", "more"), [((), 0), (("--crop-margin", "8"), 8), (("--crop-margin", "5px"), 5)]
)
def test_crop_leaves_the_subject_and_its_margin(
    u2cut: Run, disc: Path, margin: tuple[str, ...], more: int
) -> None:
    out = disc.with_name("out.png")
    assert u2cut("remove", "--crop", *margin, disc, "-o", out).code == 0
    height, width = opened(out).shape[:2]
    assert abs(height - (64 + 2 * more)) < 16
    assert abs(width - height) < 16


def test_a_second_background_is_a_usage_error(u2cut: Run, disc: Path) -> None:
    result = u2cut("remove", disc, "--background", "red", "--background-blur", "3")
    assert result.code == 2
    assert "choose one of --background" in result.err


@pytest.mark.parametrize("bad", ["reddish", "1,2", "300,0,0", "#12"])
def test_a_colour_that_is_none_is_a_usage_error(u2cut: Run, disc: Path, bad: str) -> None:
    result = u2cut("remove", disc, "--background", bad)
    assert result.code == 2
    assert bad in result.err


def test_masks_are_hard_soft_stretched_or_trimaps(u2cut: Run, disc: Path) -> None:
    results = {}
    for kind in ("--alpha", "--saliency", "--trimap", None):
        out = disc.with_name(f"{kind}.png")
        flags = [kind] if kind else []
        assert u2cut("mask", *flags, disc, "-o", out).code == 0
        results[kind] = opened(out)
        assert results[kind].shape == (96, 128)
    assert set(np.unique(results[None])) == {0, 255}
    assert set(np.unique(results["--trimap"])) == {0, 128, 255}
    assert set(np.unique(results["--alpha"])) - {0, 128, 255}  # soft where the edge is
    assert results["--saliency"].min() <= 3
    assert results["--saliency"].max() >= 252
    agreement = (results[None] == 255) == (results["--alpha"] >= 128)
    assert agreement.all()


def test_invert_exchanges_subject_and_background(u2cut: Run, disc: Path) -> None:
    plain, inverted = disc.with_name("a.png"), disc.with_name("b.png")
    assert u2cut("mask", disc, "-o", plain, "--alpha").code == 0
    assert u2cut("mask", disc, "-o", inverted, "--alpha", "--invert").code == 0
    assert (opened(plain) == 255 - opened(inverted)).all()


@pytest.mark.parametrize("options", [("--alpha", "--trimap"), ("--saliency", "--threshold", "0.4")])
def test_masks_of_two_kinds_are_a_usage_error(
    u2cut: Run, disc: Path, options: tuple[str, ...]
) -> None:
    assert u2cut("mask", disc, *options).code == 2


def test_edge_options_change_the_matte_in_their_direction(u2cut: Run, disc: Path) -> None:
    def area(*options: object) -> float:
        out = disc.with_name("area.png")
        assert u2cut("mask", "--alpha", disc, "-o", out, "--overwrite", *options).code == 0
        return float(opened(out).mean())

    plain = area()
    assert area("--erode", 4) < plain
    assert area("--feather", 3) == pytest.approx(plain, rel=0.1)
    for options in (("--clean",), ("--largest",), ("--matting", "best", "--no-zoom"), ("--zoom",)):
        assert area(*options) == pytest.approx(plain, rel=0.2)


@pytest.mark.parametrize("ending", ["png", "webp", "tiff", "avif"])
def test_the_ending_of_the_output_names_the_format(u2cut: Run, disc: Path, ending: str) -> None:
    out = disc.with_name(f"out.{ending}")
    assert u2cut("remove", disc, "-o", out, "--compression", 1).code == 0
    with Image.open(out) as image:
        assert image.format == {"tiff": "TIFF"}.get(ending, ending.upper())
        assert image.mode == "RGBA"


def test_an_ending_and_a_format_that_differ_are_a_usage_error(u2cut: Run, disc: Path) -> None:
    target = disc.with_name("out.png")
    done = u2cut("remove", disc, "-o", target, "--format", "tiff")
    assert done.code == 2
    assert "the ending says png, --format tiff" in done.err
    assert not target.exists()
    assert u2cut("remove", disc, "-o", disc.with_name("o.tif"), "--format", "tiff").code == 0


def test_format_and_quality_hold_for_a_folder(u2cut: Run, disc: Path, photo: Path) -> None:
    sizes = []
    for quality in (20, 95):
        out = disc.with_name(f"q{quality}")
        arguments = ("--format", "jpg", "--quality", quality, "--background", "white")
        assert u2cut("remove", disc, photo, "-o", out, *arguments).code == 0
        sizes.append((out / "cat.jpg").stat().st_size)
        assert (out / "disc.jpg").exists()
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("where", [("--format", "jpg"), ("-o", "out.jpg")])
def test_jpg_without_a_background_is_refused_with_the_remedy(
    u2cut: Run, disc: Path, where: tuple[str, str]
) -> None:
    result = u2cut("remove", disc, *where)
    assert result.code == 4
    assert "--background" in result.err


def test_icc_profile_and_dpi_are_kept(u2cut: Run, tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source, out = tmp_path / "a.jpg", tmp_path / "a.png"
    Image.fromarray(disc_photo()).save(source, icc_profile=profile, dpi=(300, 300))
    assert u2cut("remove", source, "-o", out).code == 0
    with Image.open(out) as image:
        assert image.info["icc_profile"] == profile
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_exif_orientation_is_applied_and_dropped(u2cut: Run, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # turn right to see upright
    source, out = tmp_path / "a.jpg", tmp_path / "a.png"
    Image.fromarray(disc_photo(96, 128)).save(source, exif=exif)
    assert u2cut("remove", source, "-o", out).code == 0
    with Image.open(out) as image:
        assert image.size == (96, 128)
        assert 0x112 not in image.getexif()


def test_the_photos_own_alpha_is_honoured(u2cut: Run, tmp_path: Path) -> None:
    rgba = np.dstack([disc_photo(), np.full((96, 128), 255, np.uint8)])
    rgba[:, :64, 3] = 0
    source, out = tmp_path / "a.png", tmp_path / "out.png"
    Image.fromarray(rgba).save(source)
    assert u2cut("remove", source, "-o", out).code == 0
    alpha = opened(out)[..., 3]
    assert not alpha[:, :64].any()
    assert alpha[48, 70] >= 250


@pytest.mark.parametrize("value", [0, 137, 255])
@pytest.mark.parametrize("size", [(1, 1), (40, 60)])
def test_a_photo_without_a_subject_gives_an_empty_result_and_a_warning(
    u2cut: Run, tmp_path: Path, value: int, size: tuple[int, int]
) -> None:
    source = tmp_path / "even.png"
    Image.new("RGB", size, (value, value, value)).save(source)
    result = u2cut("remove", source, "--json")
    assert result.code == 0
    assert "no subject found" in result.err
    (record,) = map(json.loads, result.out.splitlines())
    assert (record["status"], record["coverage"]) == ("ok", 0)
    assert not opened(Path(record["output"])).any()


def test_one_bad_photo_costs_nobody_else_and_exits_8(
    u2cut: Run, disc: Path, photo: Path, tmp_path: Path
) -> None:
    empty, text, cut = tmp_path / "empty.jpg", tmp_path / "text.png", tmp_path / "cut.jpg"
    empty.touch()
    text.write_text("no picture")
    cut.write_bytes(photo.read_bytes()[:20_000])
    missing = tmp_path / "missing.jpg"
    inputs = [disc, empty, text, cut, missing, photo]
    result = u2cut("remove", *inputs, "-o", tmp_path / "out", "--json")
    assert result.code == 8
    records = [json.loads(line) for line in result.out.splitlines()]
    assert [r["input"] for r in records] == [str(i) for i in inputs]
    assert [r["status"] for r in records] == ["ok", "failed", "failed", "failed", "failed", "ok"]
    for record in records:
        assert Path(record["output"]).exists() == (record["status"] == "ok")
        assert (record["error"] is None) == (record["status"] == "ok")
        if record["status"] == "failed":
            assert record["input"] in result.err
    assert (records[0]["width"], records[0]["height"]) == (128, 96)
    assert 0.1 < records[0]["coverage"] < 0.6
    assert "Traceback" not in result.err


def test_a_single_bad_photo_exits_3(u2cut: Run, tmp_path: Path) -> None:
    bad = tmp_path / "a\nb\x1b[2J.jpg"
    bad.write_bytes(b"GIF89a")
    result = u2cut("remove", bad, "--quiet")
    assert result.code == 3
    assert r"a\nb\x1b[2J.jpg" in result.err
    assert "\x1b" not in result.err


def test_max_pixels_answers_a_bomb(u2cut: Run, disc: Path) -> None:
    result = u2cut("remove", disc, "--max-pixels", 1000)
    assert result.code == 3
    assert "--max-pixels" in result.err


def test_existing_outputs_are_refused_skipped_or_replaced(
    u2cut: Run, disc: Path, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "disc.png").write_bytes(b"somebody's")
    assert u2cut("remove", disc, photo, "-o", out).code == 4
    assert not (out / "cat.png").exists(), "refused before any work"
    result = u2cut("remove", disc, photo, "-o", out, "--skip-existing", "--json")
    assert [json.loads(line)["status"] for line in result.out.splitlines()] == ["skipped", "ok"]
    assert (out / "disc.png").read_bytes() == b"somebody's"
    assert u2cut("remove", disc, photo, "-o", out, "--overwrite").code == 0
    assert opened(out / "disc.png").shape == (96, 128, 4)
    assert u2cut("remove", disc, "-o", out, "--overwrite", "--skip-existing").code == 2


def test_a_tree_is_kept(u2cut: Run, disc: Path, tmp_path: Path) -> None:
    inside = tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    disc.rename(inside / "disc.png")
    assert u2cut("mask", tmp_path / "in", "-r", "-o", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "side" / "disc.png").exists()


def test_a_list_is_read(u2cut: Run, disc: Path, photo: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list"
    listed.write_bytes(bytes(disc) + b"\0" + bytes(photo) + b"\0")
    result = u2cut("mask", "--from-file", listed, "-0", "-o", tmp_path / "out", "--keep-ending")
    assert result.code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["cat.jpg.png", "disc.png.png"]


def test_verbose_says_what_runs_and_where_time_goes(u2cut: Run, disc: Path) -> None:
    result = u2cut("remove", disc, "-v", "--device", "cpu", "--jobs", 1, "--batch-size", 2)
    assert result.code == 0
    assert "torch" in result.err
    assert "1 ok in" in result.err
    assert "network" in result.err


def test_a_missing_device_is_the_runs_error_not_a_photos(u2cut: Run, disc: Path) -> None:
    result = u2cut("remove", disc, "--device", "cuda:99", "--batch-size", 2)
    assert result.code == 6
    assert disc.name not in result.err


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--device", "cuda:99"), 6),
        (("--device", "toaster"), 2),
        (("--precision", "fp64"), 2),
        (("--engine", "steam"), 2),
        (("--weights", "missing.safetensors"), 5),
        (("--matting", "hairy"), 2),
        (("--quality", "0"), 2),
        (("--size", "8"), 2),
        (("--no-such-option",), 2),
    ],
)
def test_what_cannot_be_had_has_its_exit_code(
    u2cut: Run, disc: Path, options: tuple[str, ...], code: int
) -> None:
    result = u2cut("remove", disc, *options)
    assert result.code == code
    assert "Traceback" not in result.err
    assert not disc.with_name("disc.cutout.png").exists()


def test_a_model_asked_for_by_name_that_cannot_be_had_is_an_error(u2cut: Run, disc: Path) -> None:
    result = u2cut("remove", disc, "--model", "u2net", "--offline")
    assert result.code == 5
    assert "u2cut weights import" in result.err


def test_auto_offline_takes_the_bundled_weights_with_one_warning(
    u2cut: Run, disc: Path, photo: Path, tmp_path: Path
) -> None:
    result = u2cut("mask", disc, photo, "--model", "auto", "--offline", "-o", tmp_path / "out")
    assert result.code == 0
    assert result.err.count("warning") == 1
    assert "lite" in result.err


def test_the_environment_names_the_model(
    u2cut: Run, disc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from u2cut.options import NetworkOptions

    monkeypatch.setenv("U2CUT_MODEL", "u2netp")
    assert NetworkOptions().model == "u2netp"


def test_weights_takes_a_local_file(u2cut: Run, disc: Path) -> None:
    u2netp = EXAMPLES.parent / "weights" / "u2netp.safetensors"
    assert u2cut("remove", disc, "--weights", u2netp).code == 0


def test_help_names_every_command_without_loading_anything_heavy(u2cut: Run) -> None:
    result = u2cut("--help")
    assert result.code == 0
    for command in ("remove", "mask", "weights", "train", "eval", "info"):
        assert command in result.out.decode()


def test_info_tells_what_is_here(u2cut: Run) -> None:
    facts = json.loads(u2cut("info", "--json").out)
    assert facts["devices"]["cpu"] is True
    assert facts["weights"]["u2netp"] is True
    assert facts["weights"]["u2net"] is False
    assert "torch" in u2cut("info").out.decode()


def test_sixteen_bit_greys_are_scaled_not_clipped(u2cut: Run, tmp_path: Path) -> None:
    grey = (disc_photo()[..., 0].astype(np.uint16) * 257).astype(np.uint16)
    source = tmp_path / "deep.png"
    Image.fromarray(grey).save(source)
    out = tmp_path / "out.png"
    assert (
        u2cut("remove", source, "-o", out, "--keep-hidden-colours", "--matting", "none").code == 0
    )
    result = opened(out)
    visible = result[..., 3] == 255
    assert np.abs(result[visible, 0].astype(int) - disc_photo()[visible, 0]).max() <= 1


@pytest.mark.parametrize("option", ["--erode", "--feather", "--jobs"])
def test_numbers_beyond_all_reason_are_refused_before_any_work(
    u2cut: Run, disc: Path, option: str
) -> None:
    outcome = u2cut("remove", disc, option, 100_000)
    assert outcome.code == 2
    assert option in outcome.err
    assert not disc.with_name("disc.cutout.png").exists()


def test_the_largest_edges_allowed_work(u2cut: Run, disc: Path) -> None:
    assert u2cut("remove", disc, "--erode", 1000, "--feather", 1000).code == 0
    assert not opened(disc.with_name("disc.cutout.png"))[..., 3].any()
