"""A job on Ray: nodes, workers and drivers are killed, and each photo has one final line."""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.remote.test_job import NETWORK, files, records
from tests.remote.test_remote import jpeg

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow
WAIT = 240


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without work, and two nodes of one CPU."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    room = {"object_store_memory": 80_000_000}
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **room})
    for _ in range(2):
        made.add_node(num_cpus=1, **room)
    yield made
    made.shutdown()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(30):
        (tmp_path / f"in/{number:02}.jpg").write_bytes(jpeg(number))
    words = ("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK, "--shard-size", "3")
    subprocess.run([sys.executable, "-m", "u2cut", *words], cwd=tmp_path, check=True)
    return tmp_path


def start(job: Path, cluster: Any) -> "subprocess.Popen[bytes]":
    words = ("work", "job", "--on", "ray", "--address", cluster.address, "--jobs", "1")
    with (job / "said").open("wb") as said:
        return subprocess.Popen([sys.executable, "-m", "u2cut", *words], cwd=job, stderr=said)


def wait_for(job: Path, results: int) -> None:
    deadline = time.monotonic() + WAIT
    while not (job / "cut").exists() or len(files(job / "cut")) < results:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def check(job: Path) -> None:
    found = records(job / "job")
    assert found == {f"in/{number:02}.jpg": ["ok"] for number in range(30)}
    plain = ("remove", "in", "-o", "plain/", *NETWORK)
    subprocess.run([sys.executable, "-m", "u2cut", *plain], cwd=job, check=True)
    assert files(job / "cut") == files(job / "plain")


def test_a_job_on_a_cluster(job: Path, cluster: Any) -> None:
    process = start(job, cluster)
    assert process.wait(WAIT) == 0, (job / "said").read_text()
    check(job)
    again = time.monotonic()
    assert start(job, cluster).wait(WAIT) == 0
    assert time.monotonic() - again < 10  # nothing to do: no cluster is asked


def test_a_lost_node_costs_its_shard_only(job: Path, cluster: Any) -> None:
    node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    process = start(job, cluster)
    wait_for(job, 4)
    cluster.remove_node(node, allow_graceful=False)
    assert process.wait(WAIT) == 0, (job / "said").read_text()
    check(job)


def test_a_driver_that_is_killed_starts_again(job: Path, cluster: Any) -> None:
    process = start(job, cluster)
    wait_for(job, 4)
    process.kill()
    process.wait()
    done = len(list((job / "job").glob("done/*")))
    process = start(job, cluster)
    assert process.wait(WAIT) == 0, (job / "said").read_text()
    assert done < 10
    check(job)


def test_a_node_with_other_weights_is_refused(job: Path, cluster: Any) -> None:
    path = job / "job/job.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"weights": "another"}))
    process = start(job, cluster)
    assert process.wait(WAIT) == 3, (job / "said").read_text()
    assert not (job / "cut").exists()


def test_what_has_no_room_is_refused(job: Path, cluster: Any) -> None:
    words = ("work", "job", "--on", "ray", "--address", cluster.address, "--gpus", "1")
    done = subprocess.run([sys.executable, "-m", "u2cut", *words], cwd=job, capture_output=True)
    assert done.returncode == 6
    assert b"no room" in done.stderr


def test_a_worker_without_weights_stops_the_job(job: Path, cluster: Any) -> None:
    path = job / "job/job.json"
    entry = json.loads(path.read_text())
    entry["options"]["network"]["model"] = "u2net_human_seg"
    path.write_text(json.dumps(entry))
    process = start(job, cluster)
    assert process.wait(WAIT) == 5, (job / "said").read_text()


def workers() -> list[int]:
    """The processes that do photos, and the actors that hold them."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if b"ray::_Hand" in words or (b"spawn_main" in words and is_ours(int(folder.name))):
                found.append(int(folder.name))
    return found


def is_ours(process: int) -> bool:
    """Tell whether a process was started by an actor."""
    try:
        parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1]
        return b"ray::_Hand" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("seed", range(20))
def test_whoever_dies_each_photo_is_done_once(tmp_path: Path, cluster: Any, seed: int) -> None:
    """Drivers, nodes, actors and their processes are killed at any moment."""
    photos = 100
    (tmp_path / "in").mkdir()
    for number in range(photos):
        (tmp_path / f"in/{number:04}.jpg").write_bytes(jpeg(number))
    words = ("manifest", "in", "-o", "job", "--to", "cut/", *NETWORK, "--shard-size", "10")
    subprocess.run([sys.executable, "-m", "u2cut", *words], cwd=tmp_path, check=True)
    draw = random.Random(seed)
    node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    process = start(tmp_path, cluster)
    for _ in range(photos // 25):
        wait = time.monotonic() + draw.uniform(1, 8)
        while time.monotonic() < wait and process.poll() is None:
            time.sleep(0.05)
        if process.poll() is not None:
            break
        victim = draw.choice(["driver", "node", "worker", "worker"])
        if victim == "driver":
            process.kill()
            process.wait()
            process = start(tmp_path, cluster)
        elif victim == "node":
            cluster.remove_node(node, allow_graceful=False)
            node = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        elif alive := workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(draw.choice(alive), 9)
    assert process.wait(WAIT + photos) == 0, (tmp_path / "said").read_text()
    cluster.remove_node(node)
    assert records(tmp_path / "job") == {f"in/{n:04}.jpg": ["ok"] for n in range(photos)}
    plain = ("remove", "in", "-o", "plain/", *NETWORK)
    subprocess.run([sys.executable, "-m", "u2cut", *plain], cwd=tmp_path, check=True)
    assert files(tmp_path / "cut") == files(tmp_path / "plain")
