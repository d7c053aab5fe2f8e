"""Live tracking: the newest frame of a camera, its faces as soon as they are known, and options that change on the way.

with Capture(camera_opener("0")) as capture:
    for live in Live(pipeline, capture).results():
        show(live.shown)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.latest import Newest
from vtrack.pipelines.pipeline import Finish, Pipeline, Settings, as_result, only
from vtrack.pipelines.sources.scene_cuts import mark_cuts
from vtrack.pipelines.tracking.landmarks import Landmarker
from vtrack.pipelines.tracking.online import OnlineFollower
from vtrack.types import Face, FrameResult, Query


@dataclass(frozen=True, eq=False, slots=True)
class LiveResult:
    """One frame: the points that are shown, which may change from frame to frame, and those that are kept."""

    shown: FrameResult
    kept: FrameResult
    """For tables and other programs, whose points stay the same."""


class Live:
    """Runs a pipeline on a capture. The options may be changed from other threads while it runs."""

    def __init__(self, pipeline: Pipeline, capture: Capture) -> None:
        self.pipeline, self.capture = pipeline, capture
        self._shown, self._kept = pipeline.settings.query, Query((), ())
        self._strength = pipeline.settings.strength
        self._changed = False

    @property
    def query(self) -> Query:
        """The points that are shown."""
        return self._shown

    @property
    def kept(self) -> Query:
        """The points that are kept."""
        return self._kept

    def show(self, query: Query) -> None:
        """Show these points from the next frame on."""
        self._shown, self._changed = query, True

    def keep(self, query: Query) -> None:
        """Track these points too, whatever is shown: a table's columns stay the same."""
        self._kept, self._changed = query, True

    def smooth(self, strength: float) -> None:
        """Smooth that much, 0 hardly to 1 very much."""
        replace(self.pipeline.settings, strength=strength)  # raises for what cannot be
        self._strength, self._changed = strength, True

    def results(self) -> Iterator[LiveResult]:
        """A result for each frame that there was time for, until the capture ends."""
        settings, shown, kept = self._options()
        pipeline = self.pipeline
        follower = OnlineFollower(
            pipeline.detector,
            Landmarker(pipeline.model, settings.asked),
            max_faces=settings.max_faces,
            detect_every=settings.detect_every,
        )
        smoother, finish = settings.smoother(), Finish(settings)
        with closing(follower.follow(mark_cuts(self.capture))) as followed:
            for frame, sightings in followed:
                for smooth in smoother.push(as_result(frame, sightings, follower.landmarker.query)):
                    result = finish(smooth)
                    yield LiveResult(_part(result, shown, len(kept)), only(result, kept))
                if self._changed:
                    settings, shown, kept = self._options()
                    # Tracks know faces by their anchors, which every query has: identities go on.
                    follower.landmarker.close()
                    follower.landmarker = Landmarker(pipeline.model, settings.asked)
                    smoother, finish = settings.smoother(), finish.renewed(settings)

    def _options(self) -> tuple[Settings, Query, Query]:
        self._changed = False
        shown, kept = self._shown, self._kept
        settings = replace(self.pipeline.settings, query=kept + shown, strength=self._strength)
        return settings, shown, kept


class Worker:
    """Tracks in a thread: every result goes to `record`, the newest waits for a view."""

    def __init__(self, live: Live, record: Callable[[LiveResult], object]) -> None:
        self._live, self._record = live, record
        self.newest: Newest[LiveResult] = Newest()
        self.frames = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="vtrack-live", daemon=True)

    def _work(self) -> None:
        try:
            for result in self._live.results():
                self._record(result)
                self.newest.put(result)
                self.frames += 1
        except BaseException as error:  # noqa: BLE001  it is raised again, by whoever leaves
            self._error = error
        finally:
            self.newest.close()

    def wait(self) -> None:
        """Until there are no more results; raises what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.capture.stop()
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error


def _part(result: FrameResult, query: Query, start: int) -> FrameResult:
    """The points of a result from `start` on, which are those of `query`."""
    faces = tuple(
        replace(face, points=face.points[start:], sigma=face.sigma[start:], raw=face.raw[start:], query=query)
        for face in result.faces
    )
    return FrameResult(result.frame, faces, query)


def mirrored(result: FrameResult) -> FrameResult:
    """The result as in a mirror; parts keep the names they had."""
    frame = result.frame
    last = frame.size[0] - 1

    def turned(face: Face) -> Face:
        x, y, w, h = face.box
        flip = np.array([-1.0, 1.0])
        return replace(
            face,
            box=np.array([last - x - w, y, w, h]),
            points=face.points * flip + (last, 0),
            raw=face.raw * flip + (last, 0),
        )

    image = np.ascontiguousarray(frame.image[:, ::-1])
    return FrameResult(replace(frame, pixels=image), tuple(turned(face) for face in result.faces), result.query)
