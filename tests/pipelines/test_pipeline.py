"""The whole chain on toy faces: from a file through threads to results and sinks, and how it ends when something fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.clips import write_clip
from tests.pipelines.toys import ToyDetector, ToyFace, ToyModel, painter, true_points
from tests.threads import own_threads
from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.outputs.tables.csv import WideTable
from vtrack.pipelines.pipeline import Pipeline, send
from vtrack.pipelines.settings import Selection, Settings
from vtrack.pipelines.smoothing.smoother import Smoother
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.track import track
from vtrack.types import Frame, FrameResult, ImageArray, Prediction, Query

pytestmark = pytest.mark.usefixtures("no_thread_left")

QUERY = Query(("jaw", "left_eye"), (0.5, 0.5))


def scene(i: int) -> list[ToyFace]:
    return [ToyFace((60 + i, 90), 50)] if i >= 10 else []


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("toys") / "toys.mp4", 60, (240, 180), draw=painter(scene))


def settings(**changes: object) -> Settings:
    return Settings(QUERY, **{"model": ToyModel(), "detector": ToyDetector(), "smooth": "none", **changes})  # type: ignore[arg-type]


def follow(clip: Path, **changes: object) -> Iterator[FrameResult]:
    return track(clip, QUERY, **{"model": ToyModel(), "detector": ToyDetector(), "smooth": "none", **changes})


def test_a_result_for_each_frame_with_the_sources_times(clip: Path) -> None:
    with open_source(clip) as source:
        times = [(frame.index, frame.time) for frame in source]
    results = list(follow(clip))
    assert [(result.index, result.time) for result in results] == times
    assert [len(result.faces) for result in results] == [0] * 10 + [1] * 50


def test_points_are_the_users_and_true(clip: Path) -> None:
    for i, result in enumerate(follow(clip)):
        assert result.query == QUERY
        for face in result.faces:
            assert face.query == QUERY
            assert face["jaw"].shape == (1, 2)
            # Toy faces are told by colours, which video has at half resolution.
            np.testing.assert_allclose(face.points, true_points(scene(i)[0], QUERY), atol=2.0)
            np.testing.assert_array_equal(face.points, face.raw)
            np.testing.assert_allclose(face.box[2:], (40, 50), atol=3)


@pytest.mark.parametrize("smooth", ["rts", "kalman", "one-euro"])
def test_smoothing_keeps_frames_and_raw_points(clip: Path, smooth: str) -> None:
    results = list(follow(clip, smooth=smooth))
    assert [result.index for result in results] == list(range(60))
    plain = list(follow(clip))
    for smoothed, raw in zip(results, plain, strict=True):
        for face, other in zip(smoothed.faces, raw.faces, strict=True):
            np.testing.assert_allclose(face.raw, other.points, atol=1e-6)
            np.testing.assert_allclose(face.points, other.points, atol=3)


def test_a_part_of_the_video(clip: Path) -> None:
    results = list(follow(clip, start=1.0, stop=2.0, every=5))
    assert [result.index for result in results] == [25, 30, 35, 40, 45]


def test_an_opened_source_is_closed_after_use(clip: Path) -> None:
    source = open_source(clip)
    assert len(list(follow(source))) == 60  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="read only once"):
        next(iter(source))


def test_breaking_off_ends_threads_and_closes_the_file(clip: Path) -> None:
    source = open_source(clip)
    for result in follow(source):  # type: ignore[arg-type]
        if result.index == 5:
            break
    with pytest.raises(SourceError, match="read only once"):
        next(iter(source))


def test_wrong_arguments_fail_at_once(clip: Path) -> None:
    with pytest.raises(UsageError, match="max_faces must be at least 1"):
        follow(clip, max_faces=0)
    with pytest.raises(UsageError, match="detect_every must be 0 to 1 seconds"):
        follow(clip, detect_every=10)
    with open_source(clip) as source, pytest.raises(UsageError, match="has its own start"):
        follow(source, start=1.0)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no smoothing 'very'; choose from rts"):
        follow(clip, smooth="very")


def test_the_model_is_asked_in_batches(clip: Path) -> None:
    model = ToyModel()
    list(follow(clip, model=model))
    assert max(model.calls) >= 6
    assert sum(model.calls) < 80


class Broken(Source):
    """A source whose disk fails in mid-file."""

    def __init__(self, clip: Path) -> None:
        super().__init__(Selection())
        self._good = open_source(clip)
        self.info = self._good.info

    @property
    def damaged(self) -> int:
        return 0

    def frames(self) -> Iterator[Frame]:
        for frame in self._good:
            if frame.index == 30:
                raise SourceError("the disk was pulled out")
            yield frame

    def close(self) -> None:
        self._good.close()


class BrokenModel(ToyModel):
    """A model that fails in mid-video."""

    def predict(self, crops: ImageArray, query: Query) -> Prediction:
        if len(self.calls) > 8:
            raise RuntimeError("out of memory on the device")
        return super().predict(crops, query)


class BrokenDetector(ToyDetector):
    """A detector that fails in mid-video."""

    def detect(self, frames: Sequence[Frame]) -> list:
        if frames[0].index > 20:
            raise RuntimeError("the detector gave up")
        return super().detect(frames)


class FullDisk(WideTable):
    """A table on a disk that fills up."""

    def _write(self, result: FrameResult) -> None:
        if result.index == 25:
            raise OSError(28, "No space left on device")
        super()._write(result)


def test_an_error_in_smoothing_that_is_kept_keeps_no_thread(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Smoother, result: FrameResult) -> list[FrameResult]:
        raise ValueError("not smooth")

    monkeypatch.setattr(Smoother, "push", fail)
    before = own_threads()
    with pytest.raises(ValueError, match="not smooth") as kept:
        list(follow(clip))
    assert own_threads() <= before
    assert kept.value.__traceback__ is not None


def test_an_error_of_any_stage_ends_the_run_and_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    good, table = Pipeline(settings()), tmp_path / "table.csv"
    cases = [
        (good, Broken(clip), WideTable(table, QUERY), "the disk was pulled out"),
        (Pipeline(settings(model=BrokenModel())), open_source(clip), WideTable(table, QUERY), "out of memory"),
        (Pipeline(settings(detector=BrokenDetector())), open_source(clip), WideTable(table, QUERY), "gave up"),
        (good, open_source(clip), FullDisk(table, QUERY), "No space left on device"),
    ]
    for pipeline, source, sink, message in cases:
        with source, pytest.raises((OSError, RuntimeError), match=message):
            send(pipeline, source, [sink])
        assert list(tmp_path.iterdir()) == []


def test_a_stop_keeps_what_was_done(clip: Path, tmp_path: Path) -> None:
    stop, seen = threading.Event(), []

    def progress(result: FrameResult) -> None:
        seen.append(result.index)
        if result.index == 20:
            stop.set()

    with open_source(clip) as source:
        table = WideTable(tmp_path / "table.csv", QUERY)
        summary = send(Pipeline(settings()), source, [table], stop=stop, progress=progress)
    assert summary.interrupted
    assert 20 < summary.frames < 60
    rows = (tmp_path / "table.csv").read_text().splitlines()
    assert len(rows) == summary.frames + 1 == len(seen) + 1


def test_an_interrupt_without_a_stop_event_is_not_swallowed(clip: Path, tmp_path: Path) -> None:
    def progress(result: FrameResult) -> None:
        raise KeyboardInterrupt

    with open_source(clip) as source, pytest.raises(KeyboardInterrupt):
        send(Pipeline(settings()), source, [], progress=progress)


def test_summary_counts(clip: Path) -> None:
    with open_source(clip) as source:
        summary = send(Pipeline(settings()), source, [])
    assert (summary.frames, summary.frames_with_faces, summary.tracks, summary.damaged) == (60, 50, 1, 0)
    assert not summary.interrupted
    assert summary.fps == pytest.approx(60 / summary.seconds)


def test_without_pixels_frames_keep_their_size_and_time(clip: Path) -> None:
    with open_source(clip) as source:
        results = list(Pipeline(settings()).results(source, pixels=False))
    assert all(result.frame.size == (240, 180) and not result.frame.image.any() for result in results)
    assert all(result.frame.image.base is not None for result in results)
    assert len(results[40].faces) == 1
