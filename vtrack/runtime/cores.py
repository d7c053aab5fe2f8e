"""How many cores this process may use, and what they can do."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""How a container says what share of the machine it has: microseconds of work in each period, and the period."""


@cache
def skills() -> frozenset[str]:
    """What the processor can do beside the usual, as Linux names it; nothing where it is not told."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(word for line in text.splitlines() if line.startswith("flags") for word in line.split())


def cores() -> int:
    """What `OMP_NUM_THREADS` allows, as it does for torch; else the cores that system and container leave to us.

    Everything that starts threads asks here, so that one variable divides a machine between processes.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() and int(wanted) else machine_cores()


def detector_cores() -> int:
    """The detector's share in a pipeline: half, for decoding, smoothing and writing go on beside it.

    On two cores a second thread makes it no faster (7.7 ms a 720p frame, not 6.6) and takes twice the work.
    """
    return max(cores() // 2, 1)


def machine_cores() -> int:
    """The cores that system and container leave to us."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        work, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(count, int(work) // int(period)))
    except (OSError, ValueError):  # no container, or one without a quota ("max")
        return count
