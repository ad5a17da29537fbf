"""A name or a path becomes a local file; what needs a network is tested with the faults."""

import pytest
import torch
from safetensors.torch import save_file

from u2cut.errors import WeightsError
from u2cut.weights import find, local, registry


def test_the_bundled_weights_are_always_there(home):
    found = find("u2netp", offline=True)
    assert found.name == "u2netp"
    assert found.path == registry.bundled_path("u2netp")
    assert found.input_size == registry.spec("u2netp").input_size
    assert not home.exists()


def test_auto_offline_is_the_bundled_weights_with_one_warning(home, caplog):
    assert find("auto", offline=True).name == "lite"
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "\n" not in record.message


def test_the_environment_keeps_u2cut_offline(toy, monkeypatch):
    monkeypatch.setenv("U2CUT_OFFLINE", "1")
    with pytest.raises(
        WeightsError, match=r"no sound copy of toy is in .* u2cut is offline\nGo online once"
    ):
        find("toy")


def test_an_unknown_name_is_an_error(home):
    with pytest.raises(WeightsError, match="no weights are called 'u3net'"):
        find("u3net")


def test_a_local_file_says_its_input_size(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"input_size": "256"})
    found = local(path)
    assert (found.name, found.path, found.input_size) == ("mine.safetensors", path, 256)


def test_a_local_file_that_says_nothing_is_for_320(tmp_path):
    (tmp_path / "mine.pth").write_bytes(b"anything")
    assert local(tmp_path / "mine.pth").input_size == 320


def test_a_missing_local_file_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match=r"missing\.pth: No such file"):
        local(tmp_path / "missing.pth")


def test_the_doubt_of_a_network_goes_with_it() -> None:
    assert find("lite").doubt == registry.spec("lite").doubt < find("u2netp").doubt == 1
