import json
import os
import subprocess
import sys
from dataclasses import fields

import pytest
from safetensors.torch import load_file

from tests.ellipses import write_set
from u2cut.cli.app import run
from u2cut.errors import ExitCode
from u2cut.training.config import TrainConfig
from u2cut.training.config_file import read_config

TINY = [
    "--model=u2netp", "--steps=2", "--batch-size=2", "--resize=64", "--crop=0", "--workers=0",
]  # fmt: skip

# Every option of the resolved, with a value that is not its default.
OPTIONS = {
    "--data-weight": ("data_weight", "1.5", [1.5]),
    "--val-split": ("val_split", "0.3", 0.3),
    "--ignore": ("ignore", "128", 128),
    "--skip-bad": ("skip_bad", None, True),
    "--workers": ("workers", "0", 0),
    "--model": ("model", "u2netp", "u2netp"),
    "--init": ("init", "u2netp", "u2netp"),
    "--freeze": ("freeze", "stage1", ["stage1"]),
    "--steps": ("steps", "2", 2),
    "--epochs": ("epochs", "7", 7),
    "--batch-size": ("batch_size", "2", 2),
    "--accumulate": ("accumulate", "2", 2),
    "--seed": ("seed", "3", 3),
    "--resize": ("resize", "72", 72),
    "--crop": ("crop", "64", 64),
    "--hflip": ("hflip", "0.1", 0.1),
    "--vflip": ("vflip", "0", 0.0),
    "--scale": ("scale", "0.2", 0.2),
    "--aspect": ("aspect", "0.1", 0.1),
    "--rotation": ("rotation", "5", 5.0),
    "--color-jitter": ("color_jitter", "0.3", 0.3),
    "--degrade": ("degrade", "0.2", 0.2),
    "--paste": ("paste", "0.5", [0.5]),
    "--iou": ("iou", "1", 1.0),
    "--ssim": ("ssim", "0.5", 0.5),
    "--optimizer": ("optimizer", "muon", "muon"),
    "--lr": ("lr", "0.0001", 0.0001),
    "--weight-decay": ("weight_decay", "0.01", 0.01),
    "--schedule": ("schedule", "cosine", "cosine"),
    "--warmup": ("warmup", "1", 1),
    "--ema": ("ema", "0.5", 0.5),
    "--clip": ("clip", "1", 1.0),
    "--device": ("device", "cpu", "cpu"),
    "--precision": ("precision", "bf16", "bf16"),
    "--distill": ("distill", "u2netp", "u2netp"),
    "--distill-share": ("distill_share", "0.5", [0.5]),
    "--freeze-bn": ("freeze_bn", None, True),
    "--sync-bn": ("sync_bn", None, True),
    "--eval-every": ("eval_every", "1", 1),
    "--save-every": ("save_every", "1", 1),
    "--keep": ("keep", "1", 1),
    "--log-every": ("log_every", "1", 1),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run with every option set, and its data."""
    folder = tmp_path_factory.mktemp("trained")
    data = write_set(folder / "mugs")
    arguments = ["train", "--data", str(data), "--out", str(folder / "run")]
    arguments += ["--unlabelled", str(data / "images")]
    arguments += ["--backgrounds", str(data / "images"), "--cache", str(folder / "cache")]
    for k in range(7):
        arguments += ["--loss-weights", str(1 + k / 10)]
    for option, (_, text, _) in OPTIONS.items():
        arguments += [option] if text is None else [option, text]
    assert run(arguments) == ExitCode.OK
    return folder


def test_every_option_reaches_the_recipe(trained):
    resolved = read_config(trained / "run/config.toml")
    assert {field: resolved[field] for field, _, _ in OPTIONS.values()} == {
        field: value for field, _, value in OPTIONS.values()
    }
    assert resolved["data"] == [trained / "mugs"]
    assert resolved["unlabelled"] == [trained / "mugs/images"]
    assert resolved["backgrounds"] == [trained / "mugs/images"]
    assert resolved["loss_weights"] == pytest.approx([1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
    left = {f.name for f in fields(TrainConfig)} - set(resolved) - {"images", "masks", "val_names"}
    assert not left


def test_the_runs_own_recipe_repeats_it(trained, tmp_path):
    config = str(trained / "run/config.toml")
    assert run(["train", "--config", config, "--out", str(tmp_path / "again")]) == ExitCode.OK
    first, again = (
        load_file(folder / "model.safetensors") for folder in (trained / "run", tmp_path / "again")
    )
    assert all(first[key].equal(again[key]) for key in first)


def test_the_command_line_goes_before_the_file(trained, tmp_path):
    config = str(trained / "run/config.toml")
    arguments = ["train", "--config", config, "--out", str(tmp_path / "run"), "--steps", "1"]
    weights = str(trained / "run/model.safetensors")
    assert run([*arguments, "--quiet", "--init", weights]) == ExitCode.OK
    resolved = read_config(tmp_path / "run/config.toml")
    assert (resolved["steps"], resolved["init"], resolved["seed"]) == (1, weights, 3)


def test_a_list_for_each_folder_goes_with_the_files_folders(tmp_path, capfd):
    """The rules between options count for the file and the command line together."""
    config = tmp_path / "two.toml"
    config.write_text('data = ["a", "b"]\n')
    words = ["train", "--config", str(config), "--out", str(tmp_path / "run")]
    twice = ["--data-weight", "1", "--data-weight", "2"]
    run([*words, *twice])  # refused for the folders, which aren't there
    assert "--data-weight" not in capfd.readouterr().err
    assert run([*words, "--data-weight", "1"]) == ExitCode.USAGE
    assert "--data-weight" in capfd.readouterr().err


def test_the_weights_are_used_like_any_other(trained, tmp_path, photo):
    weights = str(trained / "run/model.safetensors")
    out = tmp_path / "mask.png"
    assert run(["mask", str(photo), "-o", str(out), "--weights", weights]) == ExitCode.OK
    assert out.exists()


def test_a_run_is_not_overwritten(trained, capfd):
    arguments = ["train", "--data", str(trained / "mugs"), "--out", str(trained / "run"), *TINY]
    assert run(arguments) == ExitCode.OUTPUT
    assert "--resume" in capfd.readouterr().err


def test_a_finished_run_can_be_made_longer(trained, tmp_path):
    import shutil

    shutil.copytree(trained / "run", tmp_path / "run")
    arguments = ["train", "--resume", "--out", str(tmp_path / "run"), "--steps", "3", "--verbose"]
    assert run(arguments) == ExitCode.OK
    assert (tmp_path / "run/checkpoints/step-0000003.pt").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--data=d"], "--out"),
        (["--out=r"], "--data"),
        (["--out=r", "--data=d", "--images=i", "--masks=m"], "--data"),
        (["--out=r", "--data=d", "--val=v", "--val-names=n"], "--val-names"),
        (["--out=r", "--resume"], "no run"),
        (["--out=r", "--resume", "--config=c"], "--config"),
        (["--out=r", "--data=d", "--paste=0.5"], "--backgrounds"),
        (["--out=r", "--data=d", "--hflip=2"], "hflip"),
        (["--out=r", "--data=d", "--model=u3net"], "u3net"),
    ],
)
def test_what_contradicts_itself_is_refused(arguments, said, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["train", *arguments]) == ExitCode.USAGE
    assert said in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_run_with_too_long_a_name_is_an_output_error(tmp_path, capfd):
    data = write_set(tmp_path / "set")
    out = str(tmp_path / ("n" * 300))
    assert run(["train", "--data", str(data), "--out", out, *TINY]) == ExitCode.OUTPUT
    assert "File name too long" in capfd.readouterr().err
    assert run(["train", "--resume", "--out", out]) == ExitCode.USAGE


def test_data_at_fault_is_named(tmp_path, capfd):
    data = write_set(tmp_path / "set")
    (data / "masks/002.png").write_bytes(b"not a picture")
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), *TINY]
    assert run(arguments) == ExitCode.DATA
    assert "002.png" in capfd.readouterr().err
    assert not (tmp_path / "run/config.toml").exists()


def test_a_device_that_is_not_there_is_an_error(tmp_path, capfd):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    data = write_set(tmp_path / "set")
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), *TINY]
    assert run([*arguments, "--device=cuda"]) == ExitCode.DEVICE


def hide(monkeypatch, module):
    """Let a module be as if it were not installed."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == module else find(name, *a)
    )


def test_without_tensorboard_its_extra_is_named(tmp_path, capfd, monkeypatch):
    hide(monkeypatch, "tensorboard")
    assert run(["train", "--data=d", f"--out={tmp_path}", "--tensorboard"]) == ExitCode.DEVICE
    assert "u2cut[tensorboard]" in capfd.readouterr().err


def test_without_matplotlib_only_the_curves_are_missing(tmp_path, capfd, monkeypatch):
    hide(monkeypatch, "matplotlib")
    data = write_set(tmp_path / "set")
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "run"), *TINY]
    assert run(arguments) == ExitCode.OK
    assert "u2cut[train]" in capfd.readouterr().err
    assert not (tmp_path / "run/curves.png").exists()
    assert (tmp_path / "run/model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch's compiler about torch
def test_a_compiled_network_learns_what_it_learns_otherwise(tmp_path):
    data = write_set(tmp_path / "set")
    arguments = ["train", "--data", str(data), "--val", str(data), *TINY, "--log-every=1"]
    losses = []
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        assert run([*arguments, "--out", str(tmp_path / name), *more]) == ExitCode.OK
        records = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses.append(json.loads(records[0])["loss"])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("quiet", [True, False])
def test_a_terminal_shows_progress_unless_it_is_to_be_quiet(tmp_path, quiet):
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    ours, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))  # else a bar has no room
    command = [sys.executable, "-m", "u2cut", "train", "--data", str(write_set(tmp_path / "set"))]
    command += ["--out", str(tmp_path / "run"), *TINY, *(["--quiet"] if quiet else [])]
    subprocess.run(command, stderr=terminal, check=True)
    os.set_blocking(ours, False)
    try:
        shown = os.read(ours, 1 << 16).decode()
    except BlockingIOError:
        shown = ""
    os.close(ours)
    os.close(terminal)
    assert ("reading" in shown, "step" in shown) == (not quiet, not quiet)


def test_nothing_is_written_to_stdout(trained, tmp_path, capfd):
    config = str(trained / "run/config.toml")
    assert run(["train", "--config", config, "--out", str(tmp_path / "run")]) == ExitCode.OK
    assert capfd.readouterr().out == ""
    (saved,) = (tmp_path / "run/checkpoints").iterdir()  # --keep 1
    assert saved.name == "step-0000002.pt"
