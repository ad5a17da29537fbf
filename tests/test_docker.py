"""The image's files, read: no daemon is needed for that, and none was there to build them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from u2cut.cli.app import command_tree

ROOT = Path(__file__).parent.parent
FILES = [ROOT / "docker/Dockerfile", ROOT / "docker/Dockerfile.cuda"]


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instructions and what follows them, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", path.read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_the_image_runs_without_privileges_and_ends_in_good_order(path: Path) -> None:
    found = instructions(path)
    stages = [i for i, (name, _) in enumerate(found) if name == "FROM"]
    assert len(stages) == 2
    last = found[stages[-1] :]
    names = [name for name, _ in last]
    named = dict(last)
    assert named["USER"] == "10001:10001"
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert named["STOPSIGNAL"] == "SIGTERM"
    assert named["VOLUME"] == "/var/cache/u2cut"
    assert "org.opencontainers.image.licenses" in named["LABEL"]
    assert "curl" not in path.read_text()
    for name in ("ENTRYPOINT", "CMD"):
        assert all(isinstance(word, str) for word in json.loads(named[name]))  # exec form


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_its_command_and_its_health_check_are_ones_that_run(path: Path) -> None:
    named = dict(instructions(path))
    command = json.loads(named["ENTRYPOINT"]) + json.loads(named["CMD"])
    assert command[:2] == ["u2cut", "serve"]
    known = {flag for p in command_tree(["serve"]).commands["serve"].params for flag in p.opts}
    assert {word for word in command if word.startswith("--")} <= known
    check = json.loads(named["HEALTHCHECK"].partition("CMD ")[2])
    assert check[0] == "python"
    failed = subprocess.run([sys.executable, *check[1:]], capture_output=True)  # nobody listens
    assert failed.returncode == 1
    assert b"URLError" in failed.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_weights_are_checked_while_it_is_built(path: Path) -> None:
    runs = [rest for name, rest in instructions(path) if name == "RUN"]
    assert any("weights download u2net && u2cut weights verify u2net" in run for run in runs)
    assert "U2CUT_OFFLINE=1" in path.read_text()


def test_what_the_build_copies_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    needed = {"u2cut", "weights", "pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    assert needed <= kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_compose_file_takes_rights_away() -> None:
    text = (ROOT / "docker/compose.yaml").read_text()
    for line in ("read_only: true", "cap_drop: [ALL]", "no-new-privileges:true", "token-file"):
        assert line in text
