"""Benchmark of the video encoder alone: encodes frames from memory into a file as `vtrack run --video` does."""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import av

from vtrack.pipelines.bench.measurement import print_measurement
from vtrack.pipelines.outputs.codecs import CODECS, ENCODER_THREADS

MAX_FRAMES = 150
"""Largest number of frames held in memory."""


def main() -> None:
    """Measure from the first frame to the closed file."""
    with av.open(sys.argv[1]) as container:
        frames = list(islice(container.decode(video=0), MAX_FRAMES))
    codec = CODECS["h264"]
    wall_start, cpu_start = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, av.open(str(Path(folder, "video.mp4")), "w") as output:
        stream: Any = output.add_stream(codec.encoder, rate=30)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = frames[0].time_base
        stream.codec_context.thread_count = ENCODER_THREADS
        stream.options = {"crf": str(codec.crf), "preset": "veryfast", **codec.options}
        for frame in frames:
            frame.pict_type = av.video.frame.PictureType.NONE  # the encoder chooses its own key frames
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    seconds, cpu = time.perf_counter() - wall_start, time.process_time() - cpu_start
    print_measurement(frames=len(frames), seconds=seconds, cpu=cpu, versions=codec.encoder)


if __name__ == "__main__":
    main()
