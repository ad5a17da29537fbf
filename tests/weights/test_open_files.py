"""Weights when no more files may be opened: the cause is named, and nothing is taken for broken."""

import subprocess
import sys
from pathlib import Path

import pytest

# Leaves so many numbers for files, prints what each way to weights says, and lets go again.
PROGRAM = """
import os, resource, sys
from pathlib import Path
import filelock, torch
from u2cut import weights
from u2cut.weights import download, load, registry, transfer

def ways(folder):
    u2netp, pth = registry.bundled_path("u2netp"), folder / "a.pth"
    torch.save({}, pth)
    yield "recorded", lambda: registry.bundled_sha256.__wrapped__("u2netp")
    yield "local", lambda: weights.local(u2netp)
    yield "safetensors", lambda: load.load_network(u2netp)
    yield "pth", lambda: load.load_network(pth)
    yield "import", lambda: weights.bring_in(pth)
    yield "download", lambda: weights.find("u2net", quiet=True)
    yield "connect", lambda: transfer.get(
        "http://127.0.0.1:9/", {}, transfer.Limits(host="127.0.0.1"), None
    )

for name, way in list(ways(Path(sys.argv[1]))):
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 4096))
    held = []
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    for _ in range(int(sys.argv[2])):
        os.close(held.pop())
    try:
        way()
        said = "got through"
    except Exception as e:
        said = f"{type(e).__name__}: {e}"
    for number in held:
        os.close(number)
    print(name, said.replace("\\n", " "), sep="\\t")
"""


def what_is_said(folder: Path, spare: int) -> dict[str, str]:
    command = [sys.executable, "-c", PROGRAM, str(folder), str(spare)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(line.split("\t") for line in done.stdout.splitlines())


def test_without_a_file_to_spare_every_way_to_weights_says_so(tmp_path, home):
    home.mkdir(parents=True)
    (home / "u2net.pth.part").write_bytes(b"half of it")
    said = what_is_said(tmp_path, 0)
    assert len(said) == 7
    for name, text in said.items():
        assert "oo many open files" in text, name
        assert text.endswith("ulimit -n"), name
    assert (home / "u2net.pth.part").read_bytes() == b"half of it"


def test_a_file_that_torch_cannot_open_is_not_called_broken(tmp_path, home):
    text = what_is_said(tmp_path, 1)["safetensors"]
    assert text.endswith("u2netp.safetensors: Too many open files; raise the limit with ulimit -n")


@pytest.mark.parametrize("name", ["missing", "damaged"])
def test_a_recorded_hash_that_is_no_hash_asks_for_a_new_installation(tmp_path, monkeypatch, name):
    from u2cut.errors import WeightsError
    from u2cut.weights import registry

    weights = tmp_path / "u2netp.safetensors"
    weights.touch()
    if name == "damaged":
        (tmp_path / "u2netp.safetensors.sha256").touch()
    monkeypatch.setattr(registry, "bundled_path", lambda _: weights)
    with pytest.raises(WeightsError, match=f"sha256: {name}; install u2cut again"):
        registry.bundled_sha256.__wrapped__("u2netp")
