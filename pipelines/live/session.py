"""Live tracking of the frames of a capture, with settings that may change while it runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import numpy as np

from vtrack.models.card import Card, parts_warning
from vtrack.pipelines.live.capture import Capture
from vtrack.pipelines.live.latest import Latest
from vtrack.pipelines.online import OnlineTracker
from vtrack.pipelines.pipeline import Pipeline
from vtrack.pipelines.postprocessing import cut_points, keep_points
from vtrack.pipelines.settings import Settings
from vtrack.types import Face, FrameResult, Query

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, slots=True)
class LiveResult:
    """Results of one frame: one for the view, one for recordings."""

    shown: FrameResult
    """The points that are shown; their query may change from frame to frame."""
    recorded: FrameResult
    """The points for tables and other programs; their query stays the same."""


class LiveSession:
    """Runs a pipeline on a capture. Its settings may be changed from other threads while it runs.

    Attributes:
        notice: What views tell the user, such as why a recording has ended; empty if there is nothing to tell.

    Example:
        with Capture(camera_opener("0")) as capture:
            for result in LiveSession(pipeline, capture).results():
                print(result.shown.time, len(result.shown.faces))
    """

    def __init__(self, pipeline: Pipeline, capture: Capture) -> None:
        self.pipeline, self.capture = pipeline, capture
        self._shown, self._recorded = pipeline.settings.query, Query((), ())
        self._strength = pipeline.settings.strength
        self._changed = False
        self.notice = self._parts_warning = ""

    def report(self, notice: str) -> None:
        """Tell the user in the view and in the log."""
        self.notice = notice
        log.warning("%s", notice)

    @property
    def shown_query(self) -> Query:
        """The points that are shown."""
        return self._shown

    @property
    def recorded_query(self) -> Query:
        """The points that are recorded."""
        return self._recorded

    def show(self, query: Query) -> None:
        """Show these points from the next frame on; reports parts that the model does not know.

        Raises:
            UsageError: It knows none of the parts.
        """
        card = getattr(self.pipeline.model, "card", None)
        warning = parts_warning(card, query) if isinstance(card, Card) else ""
        if warning != self._parts_warning:
            if warning:
                self.report(warning)
            elif self.notice == self._parts_warning:
                self.notice = ""
            self._parts_warning = warning
        self._shown, self._changed = query, True

    def record(self, query: Query) -> None:
        """Also track these points, whatever is shown, so that the columns of a table stay the same."""
        self._recorded, self._changed = query, True

    def smooth(self, strength: float) -> None:
        """Set the strength of smoothing, 0 (weakest) to 1 (strongest).

        Raises:
            UsageError: The strength is out of range.
        """
        replace(self.pipeline.settings, strength=strength)  # checks the value
        self._strength, self._changed = strength, True

    def results(self) -> Iterator[LiveResult]:
        """Yield a result for each frame that was not skipped, until the capture ends."""
        settings, shown, recorded = self._current_settings()
        with closing(OnlineTracker(self.pipeline, settings)) as tracker:
            for frame in self.capture:
                result = tracker.step(frame)
                yield LiveResult(_points_from(result, len(recorded), shown), keep_points(result, recorded))
                if self._changed:
                    settings, shown, recorded = self._current_settings()
                    tracker.change(settings)

    def _current_settings(self) -> tuple[Settings, Query, Query]:
        self._changed = False
        shown, recorded = self._shown, self._recorded
        settings = self.pipeline.settings.showing(recorded + shown, strength=self._strength)
        return settings, shown, recorded


class LiveThread:
    """Runs a session in a thread: passes each result to `record` and keeps the latest one for a view.

    A context manager: leaving it stops the capture, joins the thread and raises its error.
    """

    def __init__(self, session: LiveSession, record: Callable[[LiveResult], object]) -> None:
        self._session, self._record = session, record
        self.latest: Latest[LiveResult] = Latest()
        self.frames = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="vtrack-live", daemon=True)

    def _work(self) -> None:
        try:
            for result in self._session.results():
                self._record(result)
                self.latest.put(result)
                self.frames += 1
        except BaseException as error:  # noqa: BLE001  raised again in the thread that waits
            self._error = error
        finally:
            self.latest.close()

    def wait(self) -> None:
        """Wait until there are no more results; raises the thread's error."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.capture.stop()
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error


def _points_from(result: FrameResult, start: int, query: Query) -> FrameResult:
    """The points of a result from index `start` on, which are those of `query`."""
    faces = tuple(
        replace(
            cut_points(face, slice(start, None), query),
            unsmoothed=None if face.unsmoothed is None else face.unsmoothed[start:],
        )
        for face in result.faces
    )
    return replace(result, faces=faces, query=query)


def mirrored(result: FrameResult) -> FrameResult:
    """The result flipped horizontally; the names of the parts are not swapped."""
    frame = result.frame
    last = frame.size[0] - 1

    def flip(face: Face) -> Face:
        x, y, w, h = face.box
        sign = np.array([-1.0, 1.0])
        return replace(
            face,
            box=np.array([last - x - w, y, w, h]),
            points=face.points * sign + (last, 0),
            raw=face.raw * sign + (last, 0),
            unsmoothed=None if face.unsmoothed is None else face.unsmoothed * (-1.0, 1.0, 1.0) + (last, 0, 0),
            pose=None if face.pose is None else face.pose.mirrored(),
            points3d=None if face.points3d is None else face.points3d.mirrored(),
            expressions=None if face.expressions is None else face.expressions.mirrored(),
        )

    image = np.ascontiguousarray(frame.image[:, ::-1])
    return FrameResult(replace(frame, pixels=image), tuple(flip(face) for face in result.faces), result.query)
