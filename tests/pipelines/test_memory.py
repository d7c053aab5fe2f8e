"""Memory does not grow with the video: the peak after many frames is the peak after few."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.clips import write_clip
from tests.pipelines.toys import ToyFace, painter

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
