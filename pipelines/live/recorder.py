"""Recording of live results: sinks in a thread of their own, opened and closed at any time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vtrack.errors import SinkError
from vtrack.pipelines.live.session import LiveResult, LiveSession
from vtrack.pipelines.outputs.base import FileSink, Sink, check_outputs
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.tables.csv import open_table
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.pipelines.settings import OutputSettings
from vtrack.runtime.threads import WriteBehind
from vtrack.types import FrameResult, ImageArray, Query

log = logging.getLogger(__name__)

STYLES = (("points", "curves"), ("curves",), ("points",), ("points", "curves", "boxes", "ids"), ())
"""What the views draw, one after another, when their key `d` is pressed."""
_QUEUE = 8
"""Frames that may wait to be written. When the queue is full, tracking waits: no recorded frame is dropped."""


class LiveDrawing:
    """Draws results whose query may change from frame to frame.

    Attributes:
        kinds: What is drawn, see `DRAWINGS`; may be changed at any time.
        styles: Kinds to choose between: those that it began with, and `STYLES`.
    """

    def __init__(self, kinds: Collection[str] = OutputSettings.draw) -> None:
        self.kinds = frozenset(kinds)
        known = [frozenset(style) for style in STYLES]
        self.styles = STYLES if self.kinds in known else (tuple(kinds), *STYLES)
        self._drawing: tuple[Query, frozenset[str], Drawing] | None = None

    @property
    def next_style(self) -> frozenset[str]:
        """The kinds after those that are drawn."""
        styles = [frozenset(style) for style in self.styles]
        return styles[(styles.index(self.kinds) + 1) % len(styles)] if self.kinds in styles else styles[0]

    def __call__(self, result: FrameResult) -> ImageArray:
        """Draw the faces of a result on its image."""
        kinds = self.kinds
        if not len(result.query):
            return result.frame.image
        if self._drawing is None or self._drawing[0] != result.query or self._drawing[1] != kinds:
            self._drawing = (result.query, kinds, Drawing(result.query, kinds))
        return self._drawing[2](result)


class LiveRecorder:
    """Writes the shown points to videos and the recorded points to tables; a context manager.

    A sink that fails, as on a full disk, is closed, what it has written is kept if that is readable, and the others go on. All
    files are finished at the end, also after an error elsewhere.

    Args:
        videos: Sinks of the shown points.
        tables: Sinks of the recorded points.
        report: Called with a message when a sink fails, from the thread that writes.

    Attributes:
        frames: Number of frames that were given.
        failures: Messages of the sinks that failed.
        reader_left: Whether the program that read a stream has ended.
    """

    def __init__(
        self, videos: Sequence[Sink] = (), tables: Sequence[Sink] = (), report: Callable[[str], object] = log.warning
    ) -> None:
        self._videos, self._tables, self._report = list(videos), list(tables), report
        self._queue = WriteBehind(self._write, _QUEUE)
        self.frames = 0
        self.failures: list[str] = []
        self.reader_left = False

    @property
    def written(self) -> list[Path]:
        """The complete files, once the recorder has ended."""
        files = [sink.file.path for sink in (*self._videos, *self._tables) if isinstance(sink, FileSink)]
        return [path for path in files if path.exists()]

    @property
    def idle(self) -> bool:
        """Whether no sink is left to write to."""
        return not self._videos and not self._tables

    def __enter__(self) -> LiveRecorder:
        with ExitStack() as stack:
            for sink in (*self._videos, *self._tables):
                stack.enter_context(sink)
            stack.pop_all()
        self._queue.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._queue.finish()
        finally:
            for sinks in (self._videos, self._tables):
                for sink in tuple(sinks):
                    try:
                        if isinstance(sink, FileSink):
                            sink.conclude()
                        else:
                            sink.__exit__(None, None, None)
                    except SinkError as error:
                        self._drop(sinks, sink, error)

    def write(self, result: LiveResult) -> None:
        """Write one frame."""
        self._queue.put(result)
        self.frames += 1

    def _write(self, result: LiveResult) -> None:
        for sinks, frame in ((self._videos, result.shown), (self._tables, result.recorded)):
            for sink in tuple(sinks):
                try:
                    sink.write(frame)
                except (SinkError, BrokenPipeError) as error:
                    self._drop(sinks, sink, error)

    def _drop(self, sinks: list[Sink], sink: Sink, error: Exception) -> None:
        """Write no more to a sink that has failed."""
        sinks.remove(sink)
        if isinstance(error, BrokenPipeError):
            self.reader_left = True
            return
        kept = isinstance(sink, FileSink) and sink.rescue()
        message = f"{error}; {'what was written until then is kept' if kept else 'nothing of it could be kept'}"
        self.failures.append(message)
        self._report(message)


class OnDemandRecorder:
    """Records a video and a table while it is on. Files are named by the time of the start.

    Where one of them cannot be written any more, the recording ends, and the other is finished.

    Attributes:
        paths: The files of the current or the last recording.
    """

    def __init__(self, session: LiveSession, draw: LiveDrawing, folder: Path) -> None:
        self._session, self._draw, self._folder = session, draw, folder
        self._switch = threading.RLock()
        """Held while a recording is started or ended, which takes time."""
        self._lock = threading.Lock()
        """Held while a frame is queued."""
        self._recorder: LiveRecorder | None = None
        self._query = Query((), ())
        self._previous_query = Query((), ())
        self.paths: tuple[Path, ...] = ()
        self.on = False
        """Whether a recording is in progress."""

    def start(self) -> None:
        """Start recording the points that are shown now; the table keeps them whatever is shown later.

        Raises:
            SinkError: The files cannot be written.
        """
        with self._switch:
            if self.on:
                return
            paths = self._free_paths()
            check_outputs(paths)
            self._previous_query = self._session.recorded_query
            self._query = self._previous_query if len(self._previous_query) else self._session.shown_query
            video = VideoSink(paths[0], draw=self._draw, fragmented=True)
            table = open_table(paths[1], self._query, columns=self._session.pipeline.settings.measured_groups)
            recorder = LiveRecorder([video], [table], self._session.report).__enter__()
            self._session.notice, self.paths, self.on = "", paths, True
            self._session.record(self._query)
            with self._lock:
                self._recorder = recorder

    def stop(self) -> None:
        """End the recording, if one is in progress."""
        with self._switch:
            with self._lock:
                recorder, self._recorder = self._recorder, None
            if recorder is None:
                return
            self._session.record(self._previous_query)
            try:
                recorder.__exit__(None, None, None)
            finally:
                self.paths, self.on = tuple(path for path in self.paths if path.exists()), False

    def write(self, result: LiveResult) -> None:
        """Write one frame, if a recording is in progress."""
        with self._lock:
            recorder = self._recorder
            # Frames that were tracked before the query changed lack the recorded points.
            if recorder is not None and result.recorded.query == self._query:
                recorder.write(result)
        if recorder is not None and recorder.failures:
            self.stop()

    def _free_paths(self) -> tuple[Path, Path]:
        """Paths of a video and a table that do not exist."""
        stem = f"vtrack-{time.strftime('%Y%m%d-%H%M%S')}"
        name, number = stem, 1
        while any((self._folder / f"{name}{suffix}").exists() for suffix in (".mp4", ".csv")):
            number += 1
            name = f"{stem}_{number}"
        return self._folder / f"{name}.mp4", self._folder / f"{name}.csv"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
