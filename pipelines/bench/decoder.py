"""Decoding alone, for the benchmark: every frame of a video as `vtrack run` reads it, and nothing done with it."""

from __future__ import annotations

import sys
import time

import av

from vtrack.pipelines.bench.report import tell
from vtrack.pipelines.sources.open import open_source


def main() -> None:
    """Measure from the opened video to its last frame."""
    video, hwaccel = sys.argv[1:]
    with open_source(video, hwaccel=hwaccel) as source:
        began, worked = time.perf_counter(), time.process_time()
        frames = sum(1 for _ in source)
        seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    tell(frames=frames, seconds=seconds, cpu=cpu, versions=f"PyAV {av.__version__}")


if __name__ == "__main__":
    main()
