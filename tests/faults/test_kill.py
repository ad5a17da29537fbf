"""SIGKILL at any moment: what is there is whole, and the next run does exactly the rest."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.fork_server import ForkServer
from u2cut.batch.summary import summarise_journal

BUNDLED = ("--model", "u2netp", "--size", "64", "--engine", "torch", "--jobs", "2")


@pytest.fixture(scope="module")
def whole(
    fork_server: ForkServer, noise: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """The results of a run that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    assert fork_server.run("remove", noise, *BUNDLED, "-o", out) == 0, fork_server.stderr
    return {path.name: path.read_bytes() for path in out.iterdir()}


def results(out: Path) -> dict[str, bytes]:
    if not out.exists():
        return {}
    return {p.name: p.read_bytes() for p in out.glob("[!.]*")}


def kill_and_go_on(
    fork_server: ForkServer, noise: Path, whole: dict[str, bytes], out: Path, seed: int
) -> str:
    """Kill a run at some moment, look at what it left, let the next one finish; say what it met."""
    chance, resume = random.Random(seed), bool(seed % 2)
    journal = out.with_suffix(".journal")
    command = ("remove", noise, *BUNDLED, "-o", out, "--json")
    fork_server.start(*command, "--journal", journal)
    enough, end = chance.randrange(12), time.monotonic() + 900
    while len(results(out)) < enough:
        assert time.monotonic() < end, fork_server.stderr
        time.sleep(0.001)
    time.sleep(chance.uniform(0, 0.1))
    fork_server.kill()
    killed = fork_server.wait() == -signal.SIGKILL
    left = results(out)
    assert left.items() <= whole.items(), "only whole results"
    parts = len(list(out.glob(".*"))) if out.exists() else 0

    resume = resume and journal.exists()
    recorded = summarise_journal(journal).ok if journal.exists() else 0
    assert recorded <= len(left), "the journal claims no more than there is"
    how = ("--resume-from", journal) if resume else ("--skip-existing",)
    fork_server.start(*command, *how)
    assert fork_server.wait() == 0, fork_server.stderr
    records = [json.loads(line) for line in fork_server.stdout.splitlines()]
    done = {Path(r["output"]).name for r in records if r["status"] == "ok"}
    assert done == whole.keys() - left.keys(), "exactly the rest"
    assert len(records) == 12 - (recorded if resume else 0)
    assert results(out) == whole
    assert sorted(path.name for path in out.iterdir()) == sorted(whole), "no part is left"
    if not killed:
        return "after the end"
    return "half written" if parts else "between"


@pytest.mark.parametrize("seed", range(5))
def test_a_killed_run_leaves_whole_results_and_the_next_does_the_rest(
    fork_server: ForkServer, noise: Path, whole: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    kill_and_go_on(fork_server, noise, whole, tmp_path / "out", seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_random_kills(
    fork_server: ForkServer, noise: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    met = Counter(
        kill_and_go_on(fork_server, noise, whole, tmp_path / str(seed), seed)
        for seed in range(1000, 1100)
    )
    assert met["half written"], f"none of the kills hit a file half written: {met}"


WRITES_AND_DIES = """
import os, signal, sys
from u2cut.files.sink import Sink
moment, target = sys.argv[1:]
real = getattr(os, moment)
def dies(*arguments, **named):
    if moment == "write":
        real(arguments[0], arguments[1][:500])
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, moment, dies)
Sink(overwrite=False).write(target, b"whole" * 200)
"""


@pytest.mark.parametrize(
    ("moment", "there"), [("write", False), ("fsync", False), ("link", False), ("unlink", True)]
)
def test_a_kill_between_any_two_steps_of_writing_leaves_all_or_nothing(
    tmp_path: Path, moment: str, there: bool
) -> None:
    target = tmp_path / "a.png"
    died = subprocess.run([sys.executable, "-c", WRITES_AND_DIES, moment, target], check=False)
    assert died.returncode == -signal.SIGKILL
    assert target.exists() == there
    if there:
        assert target.read_bytes() == b"whole" * 200
    assert len(list(tmp_path.glob(".*.u2cut-part"))) == 1

    from u2cut.files.sink import Sink

    sink = Sink(overwrite=True)
    sink.tidy(str(target))
    sink.write(str(target), b"whole" * 200)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert target.read_bytes() == b"whole" * 200
