"""CPU cores that this process may use, and the features of the CPU."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""CPU quota of a container (cgroup v2): microseconds of CPU time per period, and the period in microseconds."""


@cache
def cpu_flags() -> frozenset[str]:
    """CPU feature flags as Linux names them, such as `avx512_vnni`; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(word for line in text.splitlines() if line.startswith("flags") for word in line.split())


def cores() -> int:
    """Number of threads to use: `OMP_NUM_THREADS` if it is set, as in torch, else the cores available to this process.

    Everything that starts threads uses this number, so that one variable divides a machine between processes.
    """
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() and int(value) else machine_cores()


def detector_cores() -> int:
    """Number of threads for the detector in a pipeline: half of the cores, since other stages run beside it.

    On two cores a second thread does not make it faster (7.7 ms per 720p frame instead of 6.6) and doubles its CPU time.
    """
    return max(cores() // 2, 1)


def machine_cores() -> int:
    """Cores available to this process, by its CPU affinity and the quota of its container."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(count, int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or one without a quota ("max")
        return count
