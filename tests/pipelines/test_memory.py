"""Memory does not grow with the video: the peak after many frames is the peak after few."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.clips import write_clip, write_repeated
from tests.pipelines.toys import ToyFace, painter
from vtrack.pipelines.sources.open import open_source

ROOT = Path(__file__).parents[2]

# A process of its own, since a peak cannot be measured twice in one. Two faces, a table and a video.
PROGRAM = """
import sys
from pathlib import Path
from vtrack.pipelines.bench.measurement import peak_mb
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.pipeline import Pipeline, send
from vtrack.pipelines.settings import Settings
from vtrack.pipelines.outputs.video import VideoSink
from tests.pipelines.toys import ToyDetector, ToyModel
from vtrack.query import parse_query

clip, folder, frames, video = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "video"
query = parse_query("eyes,lips")
pipeline = Pipeline(Settings(query, model=ToyModel(), detector=ToyDetector()))
with open_source(clip, stop=frames / 25) as source:
    sinks = [WideTable(folder / "table.csv", query)]
    if video:
        sinks.append(VideoSink(folder / "video.mp4", source=clip, draw=Drawing(query, ["points", "curves"])))
    summary = send(pipeline, source, sinks, pixels=video)
assert (summary.frames, summary.tracks) == (frames, 2), summary
print(peak_mb())
"""


@pytest.fixture(scope="module")
def drawn() -> list:
    """Frames that come again and again."""
    draw = painter(lambda i: [ToyFace((30 + abs(i - 10), 40), 30), ToyFace((100, 48), 40, blue=180)])
    return [draw(i, 144, 96) for i in range(20)]


def peak(clip: Path, folder: Path, frames: int, video: bool) -> float:
    """Megabytes at the peak of a run over the first `frames`."""
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, str(clip), str(folder), str(frames), "video" if video else "table"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("video", [False, True], ids=["table", "video"])
@pytest.mark.parametrize(
    ("few", "many"), [(1_000, 3_000), pytest.param(2_000, 20_000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_peak_memory_does_not_depend_on_the_length(
    tmp_path: Path, drawn: list, few: int, many: int, video: bool
) -> None:
    clip = write_clip(tmp_path / "long.mp4", many, (144, 96), audio=1, draw=lambda i, *_: drawn[i % len(drawn)])
    peaks = {frames: peak(clip, tmp_path / str(frames), frames, video) for frames in (few, many)}
    assert peaks[many] < 1.05 * peaks[few], f"megabytes by frames: {peaks}"


# As a user does it, with the models. Prints seconds, frames and megabytes in use every hundred frames.
LONG_RUN = """
import sys
import time
from itertools import count
from pathlib import Path
from vtrack.pipelines.outputs.open import make_sinks, needs_pixels
from vtrack.pipelines.pipeline import Pipeline, send
from vtrack.pipelines.settings import OutputSettings, Settings
from vtrack.pipelines.sources.open import open_source

clip, folder = Path(sys.argv[1]), Path(sys.argv[2])
settings, began, frames = Settings("face"), time.monotonic(), count(1)


def sample(result):
    if (number := next(frames)) % 100 == 0:
        status = Path("/proc/self/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0]) / 1024
        print(time.monotonic() - began, number, resident, flush=True)


with open_source(clip) as source:
    paths = {"csv": folder / "table.csv", "video": folder / "video.mp4"}
    sinks = make_sinks(paths, OutputSettings(outputs=tuple(paths)), settings.query, source)
    send(Pipeline(settings), source, sinks, progress=sample, pixels=needs_pixels(paths))
"""


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory in use is read from Linux's /proc")
def test_memory_does_not_grow_in_a_long_run(tmp_path: Path) -> None:
    assert slope(tmp_path, frames=20_000, size=(1280, 720), settled=60.0) < 1.0


def slope(folder: Path, frames: int, size: tuple[int, int], settled: float) -> float:
    """Megabytes by which the memory of a run with an annotated video grows in 1,000 frames, after some seconds."""
    with open_source(ROOT / "samples" / "sample.mp4", every=3) as source:
        pictures = [cv2.resize(frame.image, size) for frame in source]
    once = write_clip(folder / "once.mp4", len(pictures), size, audio=1, draw=lambda i, *_: pictures[i])
    clip = write_repeated(folder / "long.mp4", once, -(-frames // len(pictures)))
    command = [sys.executable, "-c", LONG_RUN, str(clip), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    samples = np.array([line.split() for line in done.stdout.splitlines()], float)
    seconds, numbers, megabytes = samples[samples[:, 0] >= settled].T
    assert len(seconds) >= 3, "the run was too short"
    return float(np.polyfit(numbers / 1000, megabytes, 1)[0])
