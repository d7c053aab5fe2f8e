"""A long live session: memory and descriptors do not grow.

`VTRACK_SOAK_MINUTES=60 pytest -m slow -s tests/pipelines/live/test_soak.py` runs an hour; without the variable it is 2 minutes.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

SAMPLE = Path(__file__).parents[3] / "samples" / "sample.mp4"
MINUTES = float(os.environ.get("VTRACK_SOAK_MINUTES", "2"))
_WARM_UP = 60.0
"""Seconds after which memory is compared: until then models, pools and caches fill."""
_INTERVAL = 2.0
"""Seconds between two samples."""
_MAX_SLOPE = 1.0
"""Megabytes for a thousand frames."""


def memory(process: int) -> float:
    """Resident memory in megabytes."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 300)
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads memory and descriptors from /proc")
def test_memory_and_descriptors_do_not_grow(tmp_path: Path) -> None:
    outputs = ["--record", "live.mp4", "--csv", "live.csv", "--emit", "osc", "--to", "127.0.0.1:9"]
    command = [sys.executable, "-m", "vtrack", "webcam", "--camera", str(SAMPLE), "--loop", "--view", "none", *outputs]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    samples: list[tuple[float, float, int]] = []
    began = time.monotonic()
    try:
        while (elapsed := time.monotonic() - began) < max(60 * MINUTES, 1.5 * _WARM_UP):
            assert process.poll() is None
            samples.append((elapsed, memory(process.pid), len(list(Path(f"/proc/{process.pid}/fd").iterdir()))))
            time.sleep(_INTERVAL)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 0, said
    with (tmp_path / "live.csv").open(encoding="utf-8", newline="") as file:
        times = [float(row["time_s"]) for row in csv.DictReader(file)]
    assert int(re.search(r"(\d+) frames", said)[1]) <= len(times)  # type: ignore[index]
    elapsed_s, megabytes, descriptors = np.array([sample for sample in samples if sample[0] > _WARM_UP]).T
    frames = len(times) * elapsed_s / samples[-1][0]
    slope = 1000 * float(np.polyfit(frames, megabytes, 1)[0])
    figures = (
        f"{len(times)} frames in {samples[-1][0]:.0f} s, {megabytes[0]:.0f} to {megabytes[-1]:.0f} MB, "
        f"{slope:+.2f} MB a thousand frames, descriptors {descriptors.min():.0f} to {descriptors.max():.0f}"
    )
    sys.stderr.write(f"\n{figures}\n")
    assert slope < _MAX_SLOPE
    assert descriptors[-1] <= descriptors[0] and np.ptp(descriptors) <= 4  # a file that is looped is closed and opened
