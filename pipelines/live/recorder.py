"""Recording while something else goes on: sinks in a thread of their own, opened and closed at any moment."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from vtrack.pipelines.live.session import Live, LiveResult
from vtrack.pipelines.outputs.base import Sink, check_outputs
from vtrack.pipelines.outputs.drawing.drawing import DEFAULT, Drawing
from vtrack.pipelines.outputs.tables.csv import open_table
from vtrack.pipelines.outputs.video import VideoSink
from vtrack.runtime.threads import Behind
from vtrack.types import FrameResult, ImageArray, Query

_WAITING = 8
"""Frames that may wait to be written; a recording that cannot keep up slows the picture rather than lose frames."""


class Drawings:
    """Draws results whatever their query is."""

    def __init__(self, kinds: frozenset[str] = frozenset(DEFAULT)) -> None:
        self.kinds = kinds
        self._drawing: tuple[Query, frozenset[str], Drawing] | None = None

    def __call__(self, result: FrameResult) -> ImageArray:
        """The result's picture with its faces."""
        kinds = self.kinds
        if not len(result.query):
            return result.frame.image
        if self._drawing is None or self._drawing[0] != result.query or self._drawing[1] != kinds:
            self._drawing = (result.query, kinds, Drawing(result.query, kinds))
        return self._drawing[2](result)


class Recorder:
    """A film gets what is shown, tables get what is kept."""

    def __init__(self, films: Sequence[Sink] = (), tables: Sequence[Sink] = ()) -> None:
        self._films, self._tables = films, tables
        self._stack = ExitStack()
        self.frames = 0

    def __enter__(self) -> Recorder:
        with ExitStack() as stack:
            for sink in (*self._films, *self._tables):
                stack.enter_context(sink)
            self._behind = stack.enter_context(Behind(self._write, _WAITING))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.__exit__(*raised)  # type: ignore[arg-type]

    def write(self, live: LiveResult) -> None:
        """Take one frame."""
        self._behind.put(live)
        self.frames += 1

    def _write(self, live: LiveResult) -> None:
        for film in self._films:
            film.write(live.shown)
        for table in self._tables:
            table.write(live.kept)


class Recordings:
    """Films and tables that are begun and ended on the way, named by the time."""

    def __init__(self, live: Live, draw: Drawings, folder: Path) -> None:
        self._live, self._draw, self._folder = live, draw, folder
        self._lock = threading.Lock()
        self._recorder: Recorder | None = None
        self._query = Query((), ())
        self._before = Query((), ())
        self.paths: tuple[Path, ...] = ()
        """What is being written, or was written last."""

    @property
    def on(self) -> bool:
        """Whether something is being recorded."""
        return self._recorder is not None

    def start(self) -> None:
        """Begin to record what is shown now; the table keeps these points whatever is shown later."""
        with self._lock:
            if self._recorder is not None:
                return
            stem = f"vtrack-{time.strftime('%Y%m%d-%H%M%S')}"
            paths = self._folder / f"{stem}.mp4", self._folder / f"{stem}.csv"
            check_outputs(paths)
            self._before = self._live.kept
            self._query = self._before if len(self._before) else self._live.query
            film, table = VideoSink(paths[0], draw=self._draw), open_table(paths[1], self._query, columns=["measures"])
            self._recorder = Recorder([film], [table]).__enter__()
            self.paths = paths
            self._live.keep(self._query)

    def stop(self) -> None:
        """End the recording."""
        with self._lock:
            if self._recorder is not None:
                recorder, self._recorder = self._recorder, None
                self._live.keep(self._before)
                recorder.__exit__(None, None, None)

    def write(self, live: LiveResult) -> None:
        """Take one frame, if something is being recorded."""
        with self._lock:
            # The points are asked for from the next frame on; those before lack them.
            if self._recorder is not None and live.kept.query == self._query:
                self._recorder.write(live)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()
