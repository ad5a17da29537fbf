"""The number of threads that this process may keep busy."""

import math
import os
from pathlib import Path
from typing import Final

_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")  # control groups, version 2: a container's


def available_cores() -> int:
    """Return the cores that affinity and the container's CPU quota leave, at least 1."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(1, min(cores, _quota(_QUOTA)))


def _quota(path: Path) -> int:
    """Return the cores of a file like "200000 100000" or "max 100000"; plenty without one."""
    try:
        share, period = path.read_text("ascii").split()[:2]
        return max(1, math.ceil(int(share) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return 1 << 16
