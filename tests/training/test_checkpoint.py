import resource
from contextlib import contextmanager

import pytest
import torch

from u2cut.errors import DataError, OutputError
from u2cut.training.checkpoint import (
    list_checkpoints,
    load_checkpoint,
    save_checkpoint,
    save_weights,
    write,
)


@contextmanager
def full_disk(at):
    """Let no file grow beyond ``at`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_the_newest_are_kept(tmp_path):
    for step in (5, 10, 1000):
        save_checkpoint(tmp_path, step, {"step": step, "x": torch.ones(3)}, keep=2)
    assert [p.name for p in list_checkpoints(tmp_path)] == ["step-0000010.pt", "step-0001000.pt"]
    assert load_checkpoint(tmp_path)["step"] == 1000


def test_a_broken_checkpoint_is_named_with_the_way_out(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1}, keep=3)
    path = save_checkpoint(tmp_path, 2, {"step": 2}, keep=3)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"step-0000002.*the one before"):
        load_checkpoint(tmp_path)
    path.unlink()
    assert load_checkpoint(tmp_path)["step"] == 1


def test_a_checkpoint_that_cannot_be_read_is_not_called_broken(tmp_path):
    (tmp_path / "step-0000001.pt").mkdir()
    with pytest.raises(DataError, match=r"0001\.pt: can.t be read .*directory") as raised:
        load_checkpoint(tmp_path)
    assert "delete" not in str(raised.value)


def test_a_checkpoint_that_holds_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("code was run",))

    torch.save({"step": 1, "x": Evil()}, tmp_path / "step-0000001.pt")
    with pytest.raises(DataError):
        load_checkpoint(tmp_path)


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no checkpoint"):
        load_checkpoint(tmp_path / "nothing")


def test_a_full_disk_costs_neither_the_old_checkpoint_nor_leaves_rubbish(tmp_path):
    save_checkpoint(tmp_path, 1, {"step": 1, "x": torch.zeros(9)}, keep=1)
    with full_disk(at=50_000), pytest.raises(OutputError, match="step-0000002"):
        save_checkpoint(tmp_path, 2, {"step": 2, "x": torch.zeros(100_000)}, keep=1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-0000001.pt"]
    assert load_checkpoint(tmp_path)["step"] == 1


def test_a_full_disk_keeps_the_old_weights(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(path, torch.nn.Linear(2, 2), {})
    before = path.read_bytes()
    with full_disk(at=50_000), pytest.raises(OutputError, match=r"model\.safetensors"):
        save_weights(path, torch.nn.Linear(200, 200), {})
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == before


def test_what_is_written_has_the_usual_rights(tmp_path):
    write(tmp_path / "a.safetensors", b"x")
    (tmp_path / "b").touch()
    assert (tmp_path / "a.safetensors").stat().st_mode == (tmp_path / "b").stat().st_mode
