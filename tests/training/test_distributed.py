import os
import socket
import subprocess
import sys

import pytest
import torch

from u2cut.errors import DeviceError
from u2cut.training.distributed import ProcessGroup, join_group

NETWORK = """
import torch
from torch import nn

torch.manual_seed(0)
layers = [nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 2, 3)]
network = nn.Sequential(*layers).double()
photos = torch.randn(4, 3, 9, 9).double()
"""
SHARE = """
import sys
from torch.nn.parallel import DistributedDataParallel
from u2cut.training.distributed import join_group, leave_group

group = join_group("cpu")
model = DistributedDataParallel(network)
model(photos[2 * group.rank : 2 * group.rank + 2]).square().mean().backward()
assert group.any_wants(group.rank == 1)
if group.is_main_process:
    torch.save([*(p.grad for p in network.parameters()), *network.buffers()], sys.argv[1])
group.barrier()
leave_group(group)
"""


def test_two_processes_add_up_to_one_in_every_digit(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    file = tmp_path / "shared.pt"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", NETWORK + SHARE, file],
            env=os.environ | group | {"RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    alone: dict[str, torch.nn.Module] = {}
    exec(NETWORK, alone)
    network = alone["network"]
    network(alone["photos"]).square().mean().backward()
    expected = [*(p.grad for p in network.parameters()), *network.buffers()]
    for a, b in zip(expected, torch.load(file), strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12)


def test_a_single_process_leads_and_decides_alone():
    group = join_group("cpu")
    assert group == ProcessGroup(0, 1, torch.device("cpu"))
    assert group.is_main_process
    assert group.any_wants(True)
    assert not group.any_wants(False)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nonsense", "--device nonsense: it is auto, cpu"),
        ("cuda:x\n", r"--device cuda:x\\n: it is auto, cpu"),
        ("cuda:9999", "--device cuda:9999: there is none here"),
    ],
)
def test_a_device_that_is_not_there_is_refused(name, said):
    with pytest.raises(DeviceError, match=said):
        join_group(name)
