"""The processor: how many threads may keep it busy, and what it computes in."""

import math
import os
from pathlib import Path
from typing import Final

_CPUINFO: Final = Path("/proc/cpuinfo")
_BF16: Final = {"avx512_bf16", "amx_bf16"}  # instructions; without them libraries emulate it
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # control groups, version 2: a container's


def available_cores() -> int:
    """Return the cores that affinity, the container's quota and OMP_NUM_THREADS leave.

    At least 1. Schedulers say by that variable how many of a machine's cores are a process' own.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota(_QUOTA), told_cores() or cores))


def told_cores() -> int | None:
    """Return what OMP_NUM_THREADS says, or None."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdecimal() and int(told) else None


def computes_in_bf16() -> bool:
    """Tell whether the processor multiplies bf16 itself, as far as Linux says."""
    try:
        text = _CPUINFO.read_text("ascii", errors="replace")
    except OSError:  # not Linux
        return False
    return any(_BF16 & set(line.split()) for line in text.splitlines() if line.startswith("flags"))


def _quota(path: Path) -> int:
    """Return the cores of a file like "200000 100000" or "max 100000"; plenty without one."""
    try:
        share, period = path.read_text("ascii").split()[:2]
        return max(1, math.ceil(int(share) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return 1 << 16
