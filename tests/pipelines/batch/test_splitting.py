"""Long videos in pieces: outputs are byte-equal to those of whole videos."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.clips import damage, write_clip
from tests.pipelines.batch.batching import batch, recipe, summary
from tests.pipelines.toys import ToyDetector, ToyFace, painter
from vtrack.errors import SourceError, VTrackError
from vtrack.pipelines.batch.files import FilePatterns, Video, find_videos
from vtrack.pipelines.batch.jobs import JoinJob, PieceJob, VideoJob
from vtrack.pipelines.batch.schedule import Schedule
from vtrack.pipelines.batch.splitting.recording import PieceRecorder, PieceRecording, read_facts
from vtrack.pipelines.batch.state import Recipe, VideoOutcome
from vtrack.pipelines.batch.workers.dispatch import Finished, Started
from vtrack.pipelines.batch.workers.worker import TrackingWork
from vtrack.pipelines.settings import InputSettings, Settings
from vtrack.pipelines.sources.open import open_source
from vtrack.types import Detections, Frame

FRAMES, SIZE = 500, (240, 120)


def scene(i: int) -> list[ToyFace]:
    """Two faces: one that is away for a moment at the second seam, one that comes and goes; a cut; nobody at the third."""
    faces = []
    if not 235 <= i < 255:
        faces.append(ToyFace((60 + 0.05 * i, 60), 50, angle=0.1))
    if 118 <= i < 290 or i >= 340:
        faces.append(ToyFace((150 + 0.1 * (i % 300), 62), 56, blue=120))
    if i >= 360:
        faces = [ToyFace((50, 60), 44), ToyFace((180 - 0.2 * (i - 360), 55), 48, blue=180)] if i >= 420 else []
    return faces


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    write_clip(folder / "long.mp4", FRAMES, SIZE, gop=60, draw=painter(scene))
    return folder


def jobs_of(folder: Path, out: Path, what: Recipe | None = None, *, split: float, most: int = 99) -> Counter[str]:
    """Does the jobs of a batch, at most so many, in this process; how often each, by its kind or a piece's number."""
    work = TrackingWork(what or recipe())
    videos = find_videos([str(folder)], out, FilePatterns())
    schedule = Schedule({video: Path(video.source).stat().st_size for video in videos}, 2, split)
    names: Counter[str] = Counter()
    do = work.prepare()
    while schedule.waiting and names.total() < most:
        job = schedule.waiting.popleft()
        names[f"piece {job.number}" if isinstance(job, PieceJob) else type(job).__name__] += 1
        result = do(job, lambda frames, expected: None)
        assert not isinstance(result, VTrackError), result
        schedule.settle(job, result)
    return names


def in_pieces(number: int) -> Counter[str]:
    """The jobs of a video in so many pieces, each done once."""
    return Counter(["VideoJob", "JoinJob", *(f"piece {i}" for i in range(number))])


def content(out: Path) -> dict[str, bytes | list[int]]:
    """All outputs, no file too many: tables to the byte, of videos when their frames are shown."""
    files: dict[str, bytes | list[int]] = {}
    for path in out.iterdir():
        if path.suffix == ".mp4":
            with open_source(path) as source:
                files[path.name] = [frame.pts for frame in source]
        else:
            files[path.name] = b"" if path.name.endswith(".meta.json") else path.read_bytes()
    return files


def tracks(out: Path) -> int:
    """Faces of the whole video."""
    return len({row.split(",")[2] for row in (out / "long.vtrack.csv").read_text().splitlines()[1:]} - {""})


@pytest.mark.parametrize(
    "changes", [{}, {"start": 1.3, "stop": 17.9}, {"every": 3}, {"every": 2, "start": 0.5}, {"kinds": ("csv", "video")}]
)
def test_pieces_give_the_same_outputs_as_the_whole_video(folder: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    what = recipe(changes.pop("kinds", ("csv", "parquet")), measures=True, pose=True)
    what = replace(what, input=InputSettings(**changes))
    assert jobs_of(folder, tmp_path / "whole", what, split=0) == {"VideoJob": 1}
    assert jobs_of(folder, tmp_path / "split", what, split=5) == in_pieces(3 if "stop" in changes else 4)
    assert content(tmp_path / "split") == content(tmp_path / "whole")
    for video in (tmp_path / "whole").glob("*.mp4"):
        assert video.read_bytes() == (tmp_path / "split" / video.name).read_bytes()
    assert tracks(tmp_path / "split") >= 4


@dataclass
class ShyDetector(ToyDetector):
    """Finds nobody after a while, so that faces are followed by their landmarks alone."""

    until: int = 60

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        found = super().detect(frames)
        return [
            one if frame.index < self.until else Detections.none() for frame, one in zip(frames, found, strict=True)
        ]


def test_a_lead_in_grows_until_it_is_long_enough(tmp_path: Path) -> None:
    """A piece that begins where no detector finds the face knows nothing of it, which the seam shows."""
    (tmp_path / "in").mkdir()
    write_clip(tmp_path / "in" / "long.mp4", FRAMES, SIZE, draw=painter(lambda i: [ToyFace((60 + 0.1 * i, 60), 50)]))
    what = recipe(detector=ShyDetector())
    jobs_of(tmp_path / "in", tmp_path / "whole", what, split=0)
    rows = (tmp_path / "whole" / "long.vtrack.csv").read_text().splitlines()
    assert len([row for row in rows if row.split(",")[2] == "0"]) == FRAMES
    done = jobs_of(tmp_path / "in", tmp_path / "split", what, split=5)
    assert done["piece 0"] == 1
    assert min(done[f"piece {i}"] for i in (1, 2, 3)) >= 2
    assert content(tmp_path / "split") == content(tmp_path / "whole")


def test_finished_pieces_are_not_done_again(folder: Path, tmp_path: Path) -> None:
    jobs_of(folder, tmp_path / "out", split=5, most=3)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob(".*.npz")}
    assert len(before) == 2
    jobs_of(folder, tmp_path / "out", split=5, most=5)
    assert len([*(tmp_path / "out").glob(".*.npz")]) == 4
    assert {path: path.stat().st_mtime_ns for path in before} == before
    jobs_of(folder, tmp_path / "out", recipe(smooth="none"), split=5, most=3)
    assert all(path.stat().st_mtime_ns != time for path, time in before.items())
    others = tmp_path / "out" / ".a.long.vtrack.piece-0000.npz"
    others.touch()
    (tmp_path / "out" / "..long.vtrack.piece-0009.npz.0123abcd.part").touch()
    jobs_of(folder, tmp_path / "out", split=5)
    assert [*(tmp_path / "out").glob(".*")] == [others]


def test_videos_with_warnings_are_done_as_a_whole(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(folder / "long.mp4", tmp_path / "in" / "long.mp4")
    damage(tmp_path / "in" / "long.mp4", [200, 201])
    jobs_of(tmp_path / "in", tmp_path / "whole", split=0)
    done = jobs_of(tmp_path / "in", tmp_path / "split", split=5)
    assert (done["VideoJob"], done["JoinJob"]) == (2, 0)
    assert "damage" in (tmp_path / "split" / "long.vtrack.meta.json").read_text()
    assert content(tmp_path / "split") == content(tmp_path / "whole")


def test_a_batch_with_pieces(folder: Path, tmp_path: Path) -> None:
    """With processes; the end of a video is told once."""
    begun: list[object] = []
    ends: list[object] = []

    def watch(event: object) -> None:
        if isinstance(event, Started):
            begun.append(event.job)
        if isinstance(event, Finished):
            ends.append(event.job)

    batch(folder, tmp_path / "split", split=5).run(on_event=watch)
    assert (len(begun), [type(end) for end in ends]) == (6, [JoinJob])
    row = summary(tmp_path / "split")["long.mp4"]
    assert (row["status"], row["frames"], row["tracks"]) == ("done", "500", "5")


def test_a_recording_is_saved_and_loaded(folder: Path, tmp_path: Path) -> None:
    """Also for no faces at all, and it is refused when it is damaged."""
    recorder = PieceRecorder(points=7)
    with open_source(folder / "long.mp4", stop=0.2) as source:
        for frame in source:
            recorder.add(replace(frame, cut=frame.index == 2), {})
    path = tmp_path / "one.npz"
    recorder.recording().save(path, {"made": "today"})
    again = PieceRecording.load(path)
    assert read_facts(path) == {"made": "today"}
    assert [again.frame(i).time for i in range(len(again))] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert [again.frame(i).cut for i in range(len(again))] == [False, False, True, False, False]
    assert (again.frame(3).size, again.sightings(3), again.points.shape) == (SIZE, {}, (0, 7, 2))
    path.write_bytes(path.read_bytes()[:-100])
    assert read_facts(path) == {}
    with pytest.raises(SourceError, match="damaged"):
        PieceRecording.load(path)


def video(name: str) -> Video:
    return Video(f"/in/{name}", name, Path("/out") / name)


def test_videos_are_cut_if_workers_would_be_idle() -> None:
    a, b, c, d = (video(name) for name in "abcd")
    alike = Schedule({a: 100, b: 100, c: 100, d: 100}, workers=2, split=None)
    assert [job for job in alike.waiting if isinstance(job, VideoJob) and job.max_pieces > 1] == []
    one_long = Schedule({a: 10, b: 10, c: 300, d: 10}, workers=4, split=None)
    first, *others = one_long.waiting
    assert isinstance(first, VideoJob)
    assert (first.video, first.max_pieces >= 8) == (c, True)
    assert all(isinstance(job, VideoJob) and job.max_pieces == 1 for job in others)
    assert Schedule({a: 300}, workers=1, split=None).max_workers == 1
    assert Schedule({a: 300}, workers=4, split=0).max_workers == 1
    assert Schedule({video("x"): 0}, workers=4, split=None).max_workers == 1
    live = replace(a, source="rtsp://127.0.0.1/live")
    assert Schedule({live: 300}, workers=4, split=5).max_workers == 1


def test_a_failed_piece_cancels_its_siblings() -> None:
    a = video("a")
    schedule = Schedule({a: 100}, workers=2, split=5)
    pieces = [PieceJob(a, i, 4, 0.0, None, 5.0 * i, 5.0 * i + 5, None, 1.3) for i in range(4)]
    assert not schedule.settle(schedule.waiting.popleft(), pieces)
    running = [schedule.waiting.popleft(), schedule.waiting.popleft()]
    assert not schedule.settle(running[0], None)
    assert not schedule.waiting  # not while a sibling may still write
    assert not schedule.settle(running[1], pieces[1])
    assert [*schedule.waiting] == [VideoJob(a)]
    assert schedule.settle(VideoJob(a), VideoOutcome("done"))


@pytest.mark.data
@pytest.mark.parametrize("clip", ["expressions-audio.mp4", "webcam-man.mp4"])
def test_a_real_clip(clip: str, data_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(data_dir / "clips" / clip, tmp_path / "in")
    what = Recipe(Settings("eyes,lips:12"), InputSettings(stop=13))
    jobs_of(tmp_path / "in", tmp_path / "whole", what, split=0)
    assert jobs_of(tmp_path / "in", tmp_path / "split", what, split=4) == in_pieces(3)
    assert content(tmp_path / "split") == content(tmp_path / "whole")
