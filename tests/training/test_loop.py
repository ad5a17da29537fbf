import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from u2cut.errors import DataError, UsageError
from u2cut.training.config import Network, Optimizer, Precision, Schedule, TrainConfig
from u2cut.training.config_file import format_config
from u2cut.training.data import load_data
from u2cut.training.distributed import ProcessGroup
from u2cut.training.loop import train
from u2cut.training.trainer import Trainer
from u2cut.weights.load import load_network
from u2cut.weights.registry import bundled_path

TINY = TrainConfig(
    model=Network.U2NETP,
    batch_size=2,
    resize=64,
    crop=0,
    workers=0,
    log_every=1,
    eval_every=100,
    save_every=100,
)
RICH = replace(
    TINY,
    optimizer=Optimizer.MUON,
    schedule=Schedule.COSINE,
    ema=0.9,
    clip=1.0,
    accumulate=2,
    rotation=10,
    color_jitter=0.3,
    val_split=0.3,
    eval_every=3,
    save_every=2,
)


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def checkpoint(run: Path, step: int):
    import torch

    return torch.load(run / "checkpoints" / f"step-{step:07d}.pt", weights_only=True)


def assert_equal(a, b):
    """Bit for bit, through nested dictionaries."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif hasattr(a, "equal"):
        assert a.equal(b)
    else:
        assert a == b


def start(run: Path, config: TrainConfig) -> subprocess.Popen[bytes]:
    config_file = run.parent / f"{run.name}.toml"
    config_file.write_text(format_config(config))
    command = [sys.executable, "-m", "u2cut", "train", "--config", config_file, "--out", run]
    with run.with_suffix(".log").open("w") as log:
        return subprocess.Popen(command, stderr=log)


def wait_for(found, process):
    deadline = time.monotonic() + 120
    while not found():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_run_goes_on_to_the_very_same_weights(tmp_path, make_set):
    config = replace(RICH, data=[make_set()], steps=8)
    train(config, tmp_path / "whole")
    process = start(tmp_path / "killed", config)
    wait_for(lambda: (tmp_path / "killed/checkpoints/step-0000002.pt").exists(), process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/checkpoints/step-0000008.pt").exists()
    train(config, tmp_path / "killed", resume=True)
    runs = [tmp_path / "whole", tmp_path / "killed"]
    assert_equal(*(checkpoint(run, 8) for run in runs))
    assert_equal(*(load_file(run / "model.safetensors") for run in runs))
    told = [[{**r, "images_per_s": 0} for r in lines(run)] for run in runs]
    assert told[0] == told[1]


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]])
def test_being_stopped_saves_says_how_to_go_on_and_exits_with_130(tmp_path, make_set, signals):
    process = start(tmp_path / "run", replace(TINY, data=[make_set()], steps=100_000))
    wait_for(lambda: (tmp_path / "run/metrics.jsonl").exists(), process)
    for number in signals:
        process.send_signal(number)
    assert process.wait(timeout=60) == 130
    assert "--resume" in (tmp_path / "run.log").read_text()
    (saved,) = (tmp_path / "run/checkpoints").iterdir()
    assert (
        checkpoint(tmp_path / "run", int(saved.stem[5:]))["step"]
        == lines(tmp_path / "run")[-1]["step"]
    )


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the worker in /proc")
def test_a_worker_that_is_killed_ends_the_run_with_the_likely_reason(tmp_path, make_set):
    config = replace(TINY, data=[make_set()], steps=100_000, workers=1)
    process = start(tmp_path / "run", config)
    wait_for(lambda: (tmp_path / "run/metrics.jsonl").exists(), process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (worker,) = [n for n in children if b"spawn_main" in Path(f"/proc/{n}/cmdline").read_bytes()]
    os.kill(int(worker), signal.SIGKILL)  # as the kernel does when memory is short
    assert process.wait(timeout=60) == 7
    said = (tmp_path / "run.log").read_text()
    assert "killed by signal: Killed" in said
    assert "--workers" in said
    assert "Traceback" not in said


def first_loss(run: Path) -> list[float]:
    return lines(run)[0]["loss"]


@pytest.mark.parametrize(
    ("precision", "device"),
    [
        ("bf16", "cpu"),
        pytest.param("fp16", "cpu", marks=pytest.mark.slow),
        pytest.param("bf16", "cuda", marks=pytest.mark.gpu),
        pytest.param("fp16", "cuda", marks=pytest.mark.gpu),
    ],
)
def test_half_precision_starts_like_fp32_and_goes_on_after_a_checkpoint(
    tmp_path, make_set, precision, device
):
    config = replace(TINY, data=[make_set()], steps=1, device=device)
    train(config, tmp_path / "fp32")
    half = replace(config, precision=Precision(precision))
    train(half, tmp_path / "half")
    assert first_loss(tmp_path / "half") == pytest.approx(first_loss(tmp_path / "fp32"), rel=0.05)
    assert first_loss(tmp_path / "half") != first_loss(tmp_path / "fp32")
    train(replace(half, steps=2), tmp_path / "half", resume=True)
    train(replace(half, steps=2), tmp_path / "whole")
    resumed, whole = (checkpoint(tmp_path / name, 2) for name in ("half", "whole"))
    if device == "cpu":  # on a GPU sums have no fixed order
        assert_equal(resumed, whole)
    assert bool(resumed["scaler"]) == (precision == "fp16")
    assert all(v.isfinite().all() for v in resumed["network"].values())


def test_fp16_on_a_cpu_is_done_but_advised_against(tmp_path, make_set, caplog):
    config = replace(TINY, data=[make_set(count=1)], steps=1, batch_size=1, device="cpu")
    train(replace(config, precision=Precision.FP16), tmp_path / "run")
    assert "--precision fp16 is for GPUs" in caplog.text
    assert (tmp_path / "run/model.safetensors").exists()


def test_a_run_leaves_weights_that_load_with_what_they_are(tmp_path, make_set):
    run = tmp_path / "run"
    train(replace(RICH, data=[make_set("mugs")], steps=3), run)
    with safe_open(run / "model.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["architecture"] == "u2netp"
    assert metadata["input_size"] == "64"
    assert (metadata["steps"], metadata["samples"], metadata["pairs"]) == ("3", "12", "4")
    assert metadata["data"] == "mugs"
    measured = next(r["val"] for r in lines(run) if "val" in r)
    assert metadata["validation_iou"] == f"{measured['all']['iou']:.4f}"
    network = load_network(run / "model.safetensors")
    averaged = checkpoint(run, 3)["average"]
    assert all(v.equal(averaged[f"module.{k}"]) for k, v in network.state_dict().items())
    card = (run / "model.md").read_text()
    assert "mugs" in card
    assert "optimizer" in card


def test_pictures_show_the_progress(tmp_path, make_set):
    import cv2

    train(replace(RICH, data=[make_set()], steps=3), tmp_path / "run")
    sheet = cv2.imread(str(tmp_path / "run/preview.png"))
    assert sheet is not None
    assert sheet.shape == (20 + 2 * 128, 9 * 128, 3)
    assert sheet[20:148, 128:256].max() == 255  # the truth of the first photo
    curves = cv2.imread(str(tmp_path / "run/curves.png"))
    train(replace(TINY, data=[make_set("other")], steps=1), tmp_path / "bare")
    alone = cv2.imread(str(tmp_path / "bare/curves.png"))
    assert curves is not None
    assert alone is not None
    assert curves.shape[1] == 3 * alone.shape[1]  # loss, IoU and MAE; the loss alone


def test_the_loss_of_a_photo_falls(tmp_path, make_set):
    train(replace(TINY, data=[make_set(count=1)], steps=12), tmp_path / "run")
    fused = [record["loss"][0] for record in lines(tmp_path / "run")]
    assert fused[-1] < 0.7 * fused[0]


@pytest.mark.parametrize("freeze_bn", [False, True])
def test_batch_norm_that_is_frozen_keeps_its_statistics(tmp_path, make_set, freeze_bn):
    config = replace(TINY, data=[make_set()], steps=2, init="u2netp", freeze_bn=freeze_bn)
    train(config, tmp_path / "run")
    before, after = load_file(bundled_path("u2netp")), checkpoint(tmp_path / "run", 2)["network"]
    statistics = [key for key in before if "running_" in key]
    kept = [key for key in statistics if torch.equal(before[key], after[key])]
    assert kept == (statistics if freeze_bn else [])
    assert not torch.equal(
        before["stage3.rebnconv2.bn_s1.weight"], after["stage3.rebnconv2.bn_s1.weight"]
    )


def test_without_validation_the_last_weights_are_kept(tmp_path, make_set):
    train(replace(TINY, data=[make_set()], steps=2), tmp_path / "run")
    weights = load_file(tmp_path / "run/model.safetensors")
    assert_equal(weights, checkpoint(tmp_path / "run", 2)["network"])


def test_epochs_count_the_data(tmp_path, make_set):
    config = replace(TINY, data=[make_set(count=3)], epochs=2, data_weight=[2.0])
    train(config, tmp_path / "run")
    assert lines(tmp_path / "run")[-1]["step"] == 6  # 2 epochs × 3 photos × 2 times / 2 a batch


def test_a_loss_that_is_no_number_stops_the_run_and_spares_the_checkpoint(tmp_path, make_set):
    config = replace(TINY, data=[make_set()], steps=5, lr=1e30, save_every=1)
    with pytest.raises(DataError, match=r"step \d.*--lr"):
        train(config, tmp_path / "run")
    assert not list(tmp_path.glob("run/model.safetensors"))


def test_two_processes_learn_what_one_learns_on_the_joint_batch(tmp_path, make_set):
    config = replace(
        TINY,
        data=[make_set()],
        steps=1,
        batch_size=4,
        accumulate=2,
        init="u2netp",
        freeze_bn=True,
        iou=1.0,
    )
    train(config, tmp_path / "one")
    config_file = tmp_path / "config_file.toml"
    config_file.write_text(format_config(config))
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    command += ["-m", "u2cut", "train", "--config", config_file, "--out", tmp_path / "two"]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    one, two = (checkpoint(tmp_path / name, 1) for name in ("one", "two"))
    # Adam's first moment after one step is a tenth of the gradient. The heads see all features,
    # and no batch norm lies behind them to blow up the rounding of fp32.
    for a, b in zip(*(moments(state) for state in (one, two)), strict=True):
        assert (a - b).norm() <= 0.3 * a.norm() + 1e-5
    for a, b in zip(*(moments(state)[-14:] for state in (one, two)), strict=True):
        assert (a - b).norm() <= 2e-3 * a.norm()
    for key, value in one["network"].items():
        if "running" in key:
            assert (value - two["network"][key]).abs().max() <= 1e-3 * value.abs().max(), key


def moments(state):
    return [own["exp_avg"] for own in state["optimizer"]["state"].values()]


def test_a_run_says_what_it_measures_and_which_weights_it_keeps(tmp_path, make_set, capfd):
    from u2cut.console import configure_logging

    configure_logging(verbose=True)
    config = replace(TINY, data=[make_set()], val=[make_set("val", 3)], steps=2, eval_every=1)
    train(config, tmp_path / "run")
    said = capfd.readouterr().err
    assert "step 1: iou 0." in said
    assert "the best so far: kept" in said
    kept = safe_open(tmp_path / "run/model.safetensors", "pt").metadata()["steps"]
    assert f"model.safetensors: the weights of step {kept}, the best by validation IoU" in said


@pytest.mark.parametrize("lr", [0.02, 1.0])  # to a bad network, and to none
def test_a_run_that_diverges_fails_and_keeps_the_weights_from_before(tmp_path, make_set, lr):
    config = replace(
        TINY,
        data=[make_set()],
        val=[make_set("val", 4)],
        init="u2netp",
        freeze_bn=True,
        steps=1,
        lr=1e-6,
        eval_every=1,
        save_every=1,
    )
    train(config, tmp_path / "run")
    good = load_file(tmp_path / "run/model.safetensors")
    with pytest.raises(DataError, match=r"diverged: .* holds the weights of step 1; .*--lr"):
        train(replace(config, steps=4, lr=lr), tmp_path / "run", resume=True)
    assert_equal(load_file(tmp_path / "run/model.safetensors"), good)


def test_a_run_that_diverges_without_validation_keeps_no_weights(tmp_path, make_set):
    config = replace(TINY, data=[make_set()], steps=2, lr=1e4, init="u2netp", freeze_bn=True)
    with pytest.raises(DataError, match=r"diverged|no longer a number"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run/model.safetensors").exists()


def test_sync_bn_without_gpus_is_refused_before_photos_are_read(tmp_path, monkeypatch):
    config = replace(TINY, data=[tmp_path / "nowhere"], sync_bn=True, device="cpu")
    group = ProcessGroup(0, 2, torch.device("cpu"))
    monkeypatch.setattr("u2cut.training.loop.join_group", lambda device: group)
    monkeypatch.setattr("u2cut.training.loop.leave_group", lambda group: None)
    with pytest.raises(UsageError, match=r"--sync-bn is for GPUs; .*--freeze-bn"):
        train(config, tmp_path / "run")


@pytest.mark.gpu
def test_sync_bn_replaces_every_batch_norm(tmp_path, make_set):
    data = load_data(replace(TINY, data=[make_set()]), tmp_path / "cache", quiet=True)
    config = replace(TINY, sync_bn=True)
    group = ProcessGroup(0, 2, torch.device("cuda", 0))
    trainer = Trainer.start(config, data, group, estimate=False)
    norms = [m for m in trainer.network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert {type(m) for m in norms} == {nn.SyncBatchNorm}


def test_a_checkpoint_of_another_version_is_named(tmp_path, make_set):
    config = replace(TINY, data=[make_set()], steps=1)
    train(config, tmp_path / "run")
    path = tmp_path / "run/checkpoints/step-0000001.pt"
    state = torch.load(path, weights_only=True)
    del state["network"]["outconv.bias"]
    torch.save(state, path)
    with pytest.raises(DataError, match="another version of u2cut; start another run"):
        train(replace(config, steps=2), tmp_path / "run", resume=True)
