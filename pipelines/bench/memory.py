"""The peak memory of this process."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mb() -> float | None:
    """Megabytes of memory at their highest, None where the system does not tell.

    Not `getrusage`: the peak that it knows begins with that of the process that started this one.
    """
    if not _STATUS.exists():
        return None
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
