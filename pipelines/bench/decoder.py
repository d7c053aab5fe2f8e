"""Benchmark of the decoder alone: reads every frame of a video as `vtrack run` does and discards it."""

from __future__ import annotations

import sys
import time

import av

from vtrack.pipelines.bench.measurement import print_measurement
from vtrack.pipelines.sources.open import open_source


def main() -> None:
    """Measure from the opened video to its last frame."""
    video, hwaccel = sys.argv[1:]
    with open_source(video, hwaccel=hwaccel) as source:
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        frames = sum(1 for _ in source)
        seconds, cpu = time.perf_counter() - wall_start, time.process_time() - cpu_start
    print_measurement(frames=frames, seconds=seconds, cpu=cpu, versions=f"PyAV {av.__version__}")


if __name__ == "__main__":
    main()
