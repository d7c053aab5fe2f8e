"""Recording of live results: sinks in a thread of their own, opened and closed at any time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vtrack.pipelines.live.session import LiveResult, LiveSession
from vtrack.pipelines.outputs.base import Sink, check_outputs
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.tables.csv import open_table
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.pipelines.settings import OutputSettings
from vtrack.runtime.threads import WriteBehind
from vtrack.types import FrameResult, ImageArray, Query

_QUEUE = 8
"""Frames that may wait to be written. When the queue is full, tracking waits: no recorded frame is dropped."""


class LiveDrawing:
    """Draws results whose query may change from frame to frame.

    Attributes:
        kinds: What is drawn (`points`, `curves`, `boxes`, `ids`); may be changed at any time.
    """

    def __init__(self, kinds: frozenset[str] = frozenset(OutputSettings.draw)) -> None:
        self.kinds = kinds
        self._drawing: tuple[Query, frozenset[str], Drawing] | None = None

    def __call__(self, result: FrameResult) -> ImageArray:
        """Draw the faces of a result on its image."""
        kinds = self.kinds
        if not len(result.query):
            return result.frame.image
        if self._drawing is None or self._drawing[0] != result.query or self._drawing[1] != kinds:
            self._drawing = (result.query, kinds, Drawing(result.query, kinds))
        return self._drawing[2](result)


class LiveRecorder:
    """Writes the shown points to videos and the recorded points to tables; a context manager."""

    def __init__(self, videos: Sequence[Sink] = (), tables: Sequence[Sink] = ()) -> None:
        self._videos, self._tables = videos, tables
        self._stack = ExitStack()
        self.frames = 0

    def __enter__(self) -> LiveRecorder:
        with ExitStack() as stack:
            for sink in (*self._videos, *self._tables):
                stack.enter_context(sink)
            self._queue = stack.enter_context(WriteBehind(self._write, _QUEUE))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def write(self, result: LiveResult) -> None:
        """Write one frame."""
        self._queue.put(result)
        self.frames += 1

    def _write(self, result: LiveResult) -> None:
        for video in self._videos:
            video.write(result.shown)
        for table in self._tables:
            table.write(result.recorded)


class OnDemandRecorder:
    """Records a video and a table while it is on. Files are named by the time of the start.

    Attributes:
        paths: The files of the current or the last recording.
    """

    def __init__(self, session: LiveSession, draw: LiveDrawing, folder: Path) -> None:
        self._session, self._draw, self._folder = session, draw, folder
        self._lock = threading.Lock()
        self._recorder: LiveRecorder | None = None
        self._query = Query((), ())
        self._previous_query = Query((), ())
        self.paths: tuple[Path, ...] = ()

    @property
    def on(self) -> bool:
        """Whether a recording is in progress."""
        return self._recorder is not None

    def start(self) -> None:
        """Start recording the points that are shown now; the table keeps them whatever is shown later.

        Raises:
            SinkError: The files cannot be written.
        """
        with self._lock:
            if self._recorder is not None:
                return
            stem = f"vtrack-{time.strftime('%Y%m%d-%H%M%S')}"
            paths = self._folder / f"{stem}.mp4", self._folder / f"{stem}.csv"
            check_outputs(paths)
            self._previous_query = self._session.recorded_query
            self._query = self._previous_query if len(self._previous_query) else self._session.shown_query
            video, table = VideoSink(paths[0], draw=self._draw), open_table(paths[1], self._query, columns=["measures"])
            self._recorder = LiveRecorder([video], [table]).__enter__()
            self.paths = paths
            self._session.record(self._query)

    def stop(self) -> None:
        """End the recording, if one is in progress."""
        with self._lock:
            if self._recorder is not None:
                recorder, self._recorder = self._recorder, None
                self._session.record(self._previous_query)
                recorder.__exit__(None, None, None)

    def write(self, result: LiveResult) -> None:
        """Write one frame, if a recording is in progress."""
        with self._lock:
            # Frames that were tracked before the query changed lack the recorded points.
            if self._recorder is not None and result.recorded.query == self._query:
                self._recorder.write(result)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
