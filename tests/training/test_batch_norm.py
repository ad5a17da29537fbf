"""A network with folded batch norm computes the same after its statistics are estimated."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.ellipses import write_set
from tests.onnx_files import write_onnx
from u2cut.model import U2NETP, U2Net
from u2cut.training.config import Network, TrainConfig
from u2cut.training.loop import train
from u2cut.training.network import estimate_batch_norm, is_folded
from u2cut.weights.load import load_network
from u2cut.weights.registry import bundled_path


@pytest.fixture(scope="module")
def batches():
    torch.manual_seed(0)
    return [torch.randn(4, 3, 64, 64) for _ in range(3)]


@pytest.fixture(scope="module")
def folded():
    return load_network(bundled_path("u2netp"))


@pytest.fixture(scope="module")
def estimated(folded, batches):
    network = copy.deepcopy(folded)
    estimate_batch_norm(network, batches)
    return network


@torch.inference_mode()
def maps(network, images):
    return network(images)[0].sigmoid()


def test_the_bundled_network_is_folded_and_a_fresh_one_is_not(folded, estimated):
    assert is_folded(folded)
    assert not is_folded(estimated)
    assert not is_folded(U2Net(U2NETP))


def test_evaluation_mode_computes_what_it_did(folded, estimated, batches):
    torch.testing.assert_close(
        maps(estimated, batches[0]), maps(folded, batches[0]), atol=1e-5, rtol=0
    )


def test_training_mode_behaves_only_afterwards(folded, estimated, batches):
    expected = maps(folded, batches[0])
    difference = {}
    for name, network in (("folded", folded), ("estimated", estimated)):
        training = copy.deepcopy(network).train()
        difference[name] = float((maps(training, batches[0]) - expected).abs().mean())
    assert difference["estimated"] < 0.05
    assert difference["folded"] > 3 * difference["estimated"]


def test_the_statistics_are_those_of_the_values(estimated, batches):
    seen = []
    norm = estimated.stage3.rebnconv2.bn_s1
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    for images in batches:
        maps(estimated, images)
    handle.remove()
    values = torch.cat(seen).transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean, values.mean(1), atol=1e-4, rtol=1e-3)
    variance = values.var(1, correction=0)
    torch.testing.assert_close(norm.running_var, variance, atol=1e-4, rtol=1e-3)


def ious(out: Path) -> list[float]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row["val"]["all"]["iou"] for row in rows if "val" in row]


def test_fine_tuning_begins_with_an_onnx_file_where_it_stands(folded, tmp_path, capfd):
    from u2cut.console import configure_logging

    state = {key: tensor.numpy() for key, tensor in folded.state_dict().items()}
    source = write_onnx(state, U2NETP, tmp_path / "u2netp.onnx")
    data = [write_set(tmp_path / "train", 20, seed=1)]
    val = [write_set(tmp_path / "val", 8, seed=2)]
    config = TrainConfig(
        model=Network.U2NETP, data=data, val=val, resize=96, crop=80, batch_size=4, workers=0
    )
    configure_logging()
    found = {}
    # A rate of nothing shows the network as it begins; frozen batch norm, as it was published;
    # and frozen parts keep the statistics that were estimated for them.
    estimated = [name for name, _ in folded.named_children() if name != "outconv"]
    runs: dict[str, dict[str, object]] = {
        "published": {"steps": 1, "lr": 1e-12, "freeze_bn": True},
        "estimated": {"steps": 1, "lr": 1e-12, "freeze": estimated},
        "untouched": {"steps": 1, "lr": 1e-12},
        "trained": {"steps": 50, "lr": 1e-5},
    }
    for name, changes in runs.items():
        train(replace(config, init=str(source), **changes), tmp_path / name)
        found[name] = ious(tmp_path / name)[-1]
    said = capfd.readouterr().err
    assert "u2netp.onnx: its statistics are estimated on 96 training photos" in said
    assert abs(found["estimated"] - found["published"]) < 1e-3
    assert found["trained"] > found["untouched"] - 0.01
