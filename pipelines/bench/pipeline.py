"""Benchmark of the whole pipeline: one run of vtrack over a video, from the first frame to the finished table."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from vtrack._version import __version__
from vtrack.pipelines.bench.measurement import print_measurement
from vtrack.pipelines.outputs.open import make_sinks
from vtrack.pipelines.pipeline import Pipeline, send
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.types import FrameResult


def main() -> None:
    """Measure from the first frame to the last row; loading the models is not included."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--parts", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--faces", type=int, required=True)
    parser.add_argument("--hwaccel", default=InputSettings.hwaccel)
    parser.add_argument("--video", action="store_true")
    args = parser.parse_args()
    faces = 0

    def count(result: FrameResult) -> None:
        nonlocal faces
        faces += len(result.faces)

    settings = Settings(args.parts, device=args.device, max_faces=args.faces)
    pipeline = Pipeline(settings)
    with tempfile.TemporaryDirectory() as folder, open_source(args.input, hwaccel=args.hwaccel) as source:
        outputs = {"csv": Path(folder, "table.csv")} | ({"video": Path(folder, "video.mp4")} if args.video else {})
        sinks = make_sinks(outputs, OutputSettings(outputs=tuple(outputs)), settings.query, source)
        cpu_start = time.process_time()
        summary = send(pipeline, source, sinks, progress=count, pixels=args.video)
        cpu = time.process_time() - cpu_start
    model = pipeline.card
    print_measurement(
        frames=summary.frames,
        faces=faces,
        seconds=summary.seconds,
        cpu=cpu,
        versions=f"vtrack {__version__}, {model['name']} ({model['engine']}) on {getattr(pipeline.model, 'device', 'cpu')}",
        stages=dict(summary.stages),
        waits={queue: asdict(waits) for queue, waits in summary.waits.items()},
    )


if __name__ == "__main__":
    main()
