import json
import os
import subprocess
import sys
import warnings
from dataclasses import asdict

import cv2
import numpy as np
import py_sod_metrics
import pytest
from PIL import Image

from u2cut.cli.app import run
from u2cut.evaluation.metrics import score

BUNDLED = ("--model", "u2netp", "--size", "64", "--device", "cpu", "--engine", "torch")
MODELS = ["U²-Net", "U²-Net†", "BASNet", "PoolNet"]


@pytest.fixture(scope="module")
def ecssd(tmp_path_factory):
    """Three photos of a red disc, named as if they were ECSSD, with maps of another tool."""
    root = tmp_path_factory.mktemp("data") / "ECSSD"
    rng = np.random.default_rng(1)
    for folder in ("images", "masks", "maps"):
        (root / folder).mkdir(parents=True)
    for i in range(3):
        truth = np.zeros((90, 120), np.uint8)
        cv2.circle(truth, (40 + 20 * i, 45), 20 + 5 * i, 255, -1)
        photo = rng.integers(60, 100, (90, 120, 3)).astype(np.uint8)
        photo[truth > 0] = (30, 40, 220)
        cv2.imwrite(str(root / f"images/{i}.jpg"), photo)
        cv2.imwrite(str(root / f"masks/{i}.png"), truth)
        cv2.imwrite(str(root / f"maps/{i}.png"), cv2.GaussianBlur(truth, (0, 0), 3 + 4 * i))
    return root


def ran(*arguments, code=0):
    """Run ``u2cut eval``; its exit code must be this."""
    assert run(["eval", *map(str, arguments)]) == code


def judged(capfd, *arguments):
    ran(*arguments, "--json")
    return json.loads(capfd.readouterr().out)


def test_the_scores_are_means_over_the_photos(ecssd, capfd):
    result = judged(capfd, "--data", ecssd, "--pred", ecssd / "maps")
    (data,) = result["sets"]
    expected = [
        asdict(
            score(*(cv2.imread(str(ecssd / f / f"{i}.png"), 0) for f in ("maps", "masks"))).scores
        )
        for i in range(3)
    ]
    assert (data["name"], data["photos"]) == ("ECSSD", 3)
    assert "sad" not in data["scores"]
    for metric in expected[0]:
        mean = np.mean([scores[metric] for scores in expected])
        assert data["scores"][metric] == pytest.approx(mean, abs=1e-6), metric
    assert data["scores"]["max_f"] > data["scores"]["mean_f"]
    assert result["overall"] is None


def test_the_table_has_the_papers_rows_beside_a_set_of_the_paper(ecssd, capfd):
    ran("--data", ecssd, "--pred", ecssd / "maps")
    out, err = capfd.readouterr()
    header, ours, *papers = out.splitlines()
    assert " ".join(header.split()) == (
        "data maps photos maxFβ↑ MAE↓ wFβ↑ Sα↑ bFβ↑ meanFβ↑ adpFβ↑ Eξ↑ IoU↑"
    )
    assert ours.split()[:3] == ["ECSSD", "maps", "3"]
    assert [row[: row.index(", paper")].split()[1] for row in papers] == MODELS
    assert papers[0].split()[-5:] == ["0.951", "0.033", "0.910", "0.928", "0.836"]
    assert papers[0].index("0.951") + 5 == header.index("maxFβ↑") + 6
    assert err == ""


def test_a_set_that_is_not_of_the_paper_has_no_such_rows(ecssd, tmp_path, capfd):
    (tmp_path / "mine/photos").mkdir(parents=True)
    for path in (ecssd / "images").iterdir():
        (tmp_path / "mine/photos" / path.name).write_bytes(path.read_bytes())
    folders = ("--images", tmp_path / "mine/photos", "--masks", ecssd / "masks")
    ran(*folders, "--pred", ecssd / "maps")
    _, *rows = capfd.readouterr().out.splitlines()
    assert [row.split()[:3] for row in rows] == [["mine", "maps", "3"]]


def test_markdown_has_a_cell_for_every_column(ecssd, capfd):
    ran("--data", ecssd, "--pred", ecssd / "maps", "--markdown")
    lines = capfd.readouterr().out.splitlines()
    assert {line.count("|") for line in lines} == {13}
    assert lines[1] == "|---|---|" + "---:|" * 10


def test_several_sets_have_a_row_each_and_one_over_all(ecssd, tmp_path, capfd):
    other = tmp_path / "other"
    for folder in ("images", "masks"):
        (other / folder).mkdir(parents=True)
    (other / "images/0.jpg").write_bytes((ecssd / "images/0.jpg").read_bytes())
    (other / "masks/0.png").write_bytes((ecssd / "masks/1.png").read_bytes())
    (tmp_path / "maps/other").mkdir(parents=True)
    (tmp_path / "maps/other/0.png").write_bytes((ecssd / "maps/0.png").read_bytes())
    (tmp_path / "maps/ECSSD").symlink_to(ecssd / "maps")
    result = judged(capfd, "--data", ecssd, "--data", other, "--pred", tmp_path / "maps")
    assert [(s["name"], s["photos"]) for s in result["sets"]] == [("ECSSD", 3), ("other", 1)]
    means = [s["scores"]["mae"] for s in result["sets"]]
    assert result["overall"]["photos"] == 4
    mean = (3 * means[0] + means[1]) / 4
    assert result["overall"]["scores"]["mae"] == pytest.approx(mean, abs=2e-6)
    ran("--data", ecssd, "--data", other, "--pred", tmp_path / "maps")
    last = capfd.readouterr().out.splitlines()[-1].split()
    assert last[:3] == ["all", "maps", "4"]
    assert last[4] == f"{mean:.3f}"


def test_a_list_of_names_restricts_what_is_judged(ecssd, tmp_path, capfd):
    (tmp_path / "list.txt").write_text("ECSSD/1\n")
    arguments = ("--data", ecssd, "--pred", ecssd / "maps", "--names", tmp_path / "list.txt")
    result = judged(capfd, *arguments)
    assert result["sets"][0]["photos"] == 1


def test_a_soft_truth_adds_the_metrics_of_mattes(ecssd, capfd):
    masks = ("--images", ecssd / "images", "--masks", ecssd / "maps", "--pred", ecssd / "masks")
    ran(*masks)
    header = capfd.readouterr().out.splitlines()[0]
    assert header.split()[-5:] == ["mattes", "SAD↓", "MSE↓", "Grad↓", "Conn↓"]
    result = judged(capfd, *masks)
    assert result["sets"][0]["scores"]["mattes"] == 3
    assert result["sets"][0]["scores"]["sad"] > 0


def test_the_unknown_band_of_a_trimap_can_be_left_out(ecssd, tmp_path, capfd):
    (tmp_path / "masks").mkdir()
    for i in range(3):
        truth = cv2.imread(str(ecssd / f"masks/{i}.png"), 0)
        assert truth is not None
        band = cv2.dilate(truth, np.ones((41, 41))) != cv2.erode(truth, np.ones((41, 41)))
        truth[band] = 128
        cv2.imwrite(str(tmp_path / f"masks/{i}.png"), truth)
    folders = ("--images", ecssd / "images", "--masks", tmp_path / "masks")
    maes = [
        judged(capfd, *folders, "--pred", ecssd / "maps", *more)["sets"][0]["scores"]["mae"]
        for more in ((), ("--ignore", "128"))
    ]
    assert maes[1] < 0.02 < maes[0]


@pytest.mark.parametrize(
    ("product", "judging"), [("--saliency", ()), ("--alpha", ("--matting", "fast"))]
)
def test_a_network_is_judged_by_the_maps_that_u2cut_writes(
    ecssd, tmp_path, capfd, product, judging
):
    assert run(["mask", str(ecssd / "images"), product, "-o", str(tmp_path), *BUNDLED]) == 0
    capfd.readouterr()
    ran("--data", ecssd, *BUNDLED, "--batch-size", "2", *judging, "--json", "--verbose")
    out, err = capfd.readouterr()
    network = json.loads(out)
    assert "on cpu, " in err
    folder = judged(capfd, "--data", ecssd, "--pred", tmp_path)
    assert network["source"] == " ".join(["u2netp 64", *judging[1:]])
    assert network["sets"][0]["scores"] == pytest.approx(folder["sets"][0]["scores"], abs=1e-4)


def test_scores_of_real_maps_equal_those_of_pysodmetrics(ecssd, tmp_path, capfd):
    assert run(["mask", str(ecssd / "images"), "--saliency", "-o", str(tmp_path), *BUNDLED]) == 0
    capfd.readouterr()
    ours = judged(capfd, "--data", ecssd, "--pred", tmp_path)["sets"][0]["scores"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        f = py_sod_metrics.Fmeasure()
    others = [
        py_sod_metrics.MAE(),
        py_sod_metrics.WeightedFmeasure(),
        py_sod_metrics.Smeasure(),
        py_sod_metrics.Emeasure(),
    ]
    for i in range(3):
        paths = (tmp_path / f"{i}.png", ecssd / f"masks/{i}.png")
        saliency, truth = (cv2.imread(str(path), 0) for path in paths)
        for metric in (f, *others):
            metric.step(saliency, truth)
    theirs = {key: value for metric in others for key, value in metric.get_results().items()}
    precision, recall = f.get_results()["pr"].values()
    best = (1.3 * precision * recall / (0.3 * precision + recall)).max()
    assert ours["max_f"] == pytest.approx(best, abs=1e-4)
    assert ours["mae"] == pytest.approx(theirs["mae"], abs=1e-4)
    assert ours["weighted_f"] == pytest.approx(theirs["wfm"], abs=1e-4)
    assert ours["s_measure"] == pytest.approx(theirs["sm"], abs=1e-4)
    assert ours["e_measure"] == pytest.approx(theirs["em"]["curve"].mean(), abs=1e-4)


def test_curves_and_the_worst_photos_are_drawn(ecssd, tmp_path, capfd):
    plots = tmp_path / "new/plots"
    arguments = ("--data", ecssd, "--pred", ecssd / "maps", "--plots", plots, "--worst", "2")
    result = judged(capfd, *arguments)
    assert [bad["name"] for bad in result["worst"]] == ["ECSSD/2", "ECSSD/1"]
    assert sorted(path.name for path in plots.iterdir()) == ["curves.png", "worst.png"]
    with Image.open(plots / "worst.png") as sheet:
        assert sheet.height > sheet.width / 2
        colours = np.asarray(sheet.convert("RGB")).reshape(-1, 3).astype(int)
    assert (colours @ (1, -1, 0) > 120).any()  # the photos' red
    with Image.open(plots / "curves.png") as curves:
        assert curves.width > 1000
    ran(*arguments, code=4)
    out, err = capfd.readouterr()
    assert (out, "--overwrite" in err) == ("", True)
    ran(*arguments, "--overwrite")


def test_plots_without_matplotlib_are_refused_before_any_work(ecssd, tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    ran("--data", ecssd, "--pred", ecssd / "maps", "--plots", tmp_path, code=6)
    out, err = capfd.readouterr()
    assert out == ""
    assert "pip install 'u2cut[train]'" in err


def test_missing_maps_are_all_named(ecssd, tmp_path, capfd):
    ran("--data", ecssd, "--pred", tmp_path, code=7)
    err = capfd.readouterr().err
    assert "3 invalid files" in err
    assert all(f"images/{i}.jpg: no map" in err for i in range(3))


def test_files_at_fault_are_named_and_can_be_left_out(ecssd, tmp_path, capfd):
    root = tmp_path / "set"
    for path in sorted(ecssd.glob("*/*")):
        target = root / path.relative_to(ecssd)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    (root / "masks/0.png").unlink()
    (root / "masks/1.png").write_bytes(b"broken")
    arguments = ("--data", root, "--pred", root / "maps")
    ran(*arguments, code=7)
    err = capfd.readouterr().err
    assert "images/0.jpg: no mask" in err
    assert "--skip-bad" in err
    ran(*arguments, "--skip-bad", "--json")
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert result["sets"][0]["photos"] == 1
    assert len(result["skipped"]) == err.count("left out: ") == 2
    (root / "images/0.jpg").unlink()
    ran(*arguments, code=7)
    assert "masks/1.png" in capfd.readouterr().err


def test_nothing_left_to_judge_is_an_error(ecssd, tmp_path, capfd):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    ran("--data", tmp_path, "--pred", ecssd / "maps", code=7)
    assert "nothing to judge" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what to judge"),
        (("--data", "d", "--images", "i", "--masks", "m"), "choose --data"),
        (("--images", "i"), "--images and --masks go together"),
        (("--data", "d", "--json", "--markdown"), "choose one"),
        (("--data", "d", "--pred", "p", "--matting", "best"), "--pred takes maps as they are"),
        (("--data", "d", "--pred", "p", "--weights", "w"), "--pred takes maps as they are"),
        (("--data", "d", "--worst", "3"), "--worst needs --plots"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments, words, capfd):
    ran(*arguments, code=2)
    assert words in capfd.readouterr().err


def test_missing_weights_are_refused_before_any_work(ecssd, tmp_path, capfd):
    ran("--data", ecssd, "--weights", tmp_path / "none.safetensors", code=5)
    assert "none.safetensors: No such file" in capfd.readouterr().err


def test_plots_with_too_long_a_name_are_an_output_error(ecssd, capfd):
    ran("--data", ecssd, "--pred", ecssd / "maps", "--plots", "n" * 300, code=4)
    assert "File name too long" in capfd.readouterr().err


def test_a_reader_that_goes_away_is_an_error_and_not_a_crash(ecssd):
    command = [sys.executable, "-m", "u2cut", "eval", "--data", str(ecssd)]
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [*command, "--pred", str(ecssd / "maps")], stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    assert result.returncode == 4
    assert b"stdout: Broken pipe" in result.stderr


def test_a_reader_gets_json_and_nothing_else(ecssd):
    command = [sys.executable, "-m", "u2cut", "eval", "--data", str(ecssd), "--json"]
    result = subprocess.run(
        [*command, "--pred", str(ecssd / "maps"), "--quiet", "--jobs", "2"],
        capture_output=True,
        check=True,
    )
    assert json.loads(result.stdout)["sets"][0]["photos"] == 3
    assert result.stderr == b""
