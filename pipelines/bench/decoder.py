"""Decoding alone, for the benchmark: every frame of a video as `vtrack run` reads it, and nothing done with it."""

from __future__ import annotations

import json
import sys
import time

import av

from pipelines.bench.memory import peak_mb
from pipelines.source import open_source


def main() -> None:
    """Measure from the opened video to its last frame."""
    video, hwaccel = sys.argv[1:]
    with open_source(video, hwaccel=hwaccel) as source:
        began, worked = time.perf_counter(), time.process_time()
        frames = sum(1 for _ in source)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    told = {
        "frames": frames,
        "faces": 0,
        "seconds": seconds,
        "cpu": cpu,
        "peak_mb": peak_mb(),
        "versions": f"PyAV {av.__version__}",
    }
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
