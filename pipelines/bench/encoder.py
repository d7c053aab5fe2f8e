"""The video encoder alone, for the benchmark: decoded pictures from memory into a file, as `vtrack run --video` writes it."""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import av

from vtrack.pipelines.bench.report import tell
from vtrack.pipelines.outputs.video import CODECS
from vtrack.runtime.cores import cores

PICTURES = 150
"""As many are held in memory, at most."""


def main() -> None:
    """Measure from the first picture to the closed file."""
    with av.open(sys.argv[1]) as container:
        pictures = list(islice(container.decode(video=0), PICTURES))
    codec = CODECS["h264"]
    began, worked = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, av.open(str(Path(folder, "video.mp4")), "w") as output:
        stream: Any = output.add_stream(codec.encoder, rate=30)
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = pictures[0].time_base
        stream.codec_context.thread_count = cores()
        stream.options = {"crf": str(codec.crf), "preset": "veryfast", **codec.options}
        for picture in pictures:
            picture.pict_type = av.video.frame.PictureType.NONE  # the encoder chooses its own key frames
            output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    seconds, cpu = time.perf_counter() - began, time.process_time() - worked
    tell(frames=len(pictures), seconds=seconds, cpu=cpu, versions=codec.encoder)


if __name__ == "__main__":
    main()
