"""What a benchmarked program reports about its run: one line of JSON on stdout, which `runner` reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def print_measurement(*, frames: int, seconds: float, cpu: float, versions: str, faces: int = 0, **more: Any) -> None:
    """Print the measurement of this process.

    Args:
        frames: Number of frames processed.
        seconds: Wall-clock seconds.
        cpu: CPU seconds, summed over all cores.
        versions: Names and versions of the libraries measured.
        faces: Number of faces found, summed over all frames.
        more: Further fields of `runner.ProgramRun`.
    """
    measurement = {
        "frames": frames,
        "faces": faces,
        "seconds": seconds,
        "cpu": cpu,
        "peak_mb": peak_mb(),
        "versions": versions,
        **more,
    }
    sys.stdout.write(json.dumps(measurement) + "\n")


def peak_mb() -> float | None:
    """Peak resident memory of this process in MB, or None if the system does not report it.

    `getrusage` is not used: its peak includes that of the parent process.
    """
    if not _STATUS.exists():
        return None
    line = next(line for line in _STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
