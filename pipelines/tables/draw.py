"""`draw_table`: the faces of a table on the frames of its video, as `run --video` draws them, without a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.paths import given_path
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.pipeline import Summary, queue_size, send
from vtrack.pipelines.registry import AXES, OUTPUTS
from vtrack.pipelines.settings import InputSettings, OutputSettings, Selection
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.fit import check_size, check_time, misfit
from vtrack.pipelines.tables.targets import check_kind, check_targets, named_after
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.runtime.threads import ReadAhead, interruptible
from vtrack.types import Face, FrameResult

_VIDEO = "video"
_TOLERANCE = 1e-3
"""Seconds by which the times of a table may differ from those of its video: tables of OpenFace have three decimals."""


class TablePlayer:
    """Gives the frames of a video the faces of a table: a maker of results in the place of a pipeline.

    Args:
        table: The table, not yet read.
    """

    spent = 0.0

    def __init__(self, table: TableResults) -> None:
        self._table = table

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Iterator[FrameResult]:
        """Yield one result for each frame of a source; frames that the table has no row for have no faces.

        Raises:
            TableError: The table is damaged.
            UsageError: It is not of this video.
        """
        watch = watch or Stopwatch()
        selection, query = source.selection, self._table.query
        wanted = next(self._table, None)
        last = -1
        with ReadAhead(watch.time_items("decode", iter(source)), queue_size(source), stop, source.abandon) as frames:
            for frame in frames:
                while wanted is not None and wanted.index < frame.index:
                    if selection.every == 1 and (selection.start is None or wanted.time >= selection.start):
                        raise misfit(self._table, source, f"the video has no frame {wanted.index}")
                    wanted = next(self._table, None)
                faces: tuple[Face, ...] = ()
                if wanted is not None and wanted.index == frame.index:
                    check_time(self._table, source, wanted.time, frame, _TOLERANCE)
                    faces = wanted.faces
                    wanted = next(self._table, None)
                last = frame.index
                yield FrameResult(frame if pixels else frame.without_pixels(), faces, query)
        stopped = selection.stop is not None or (stop is not None and stop.is_set())
        if wanted is not None and not stopped and wanted.index >= last + selection.every:
            raise misfit(self._table, source, f"the table has a frame {wanted.index}, and the video ends with {last}")


def draw_table(
    table: str | Path,
    video: str,
    output: str | Path | None = None,
    *,
    look: OutputSettings | None = None,
    selection: dict[str, Any] | None = None,
    parts: str = "",
    overwrite: bool = False,
    progress: Callable[[Source], Callable[[FrameResult], object]] | None = None,
) -> tuple[Path, Summary]:
    """Draw the faces of a table on its video.

    Args:
        table: The table, as `read_table` takes it.
        video: What it was made of: a video file, address or folder of numbered images.
        output: Video to write; None for one beside the table.
        look: What is drawn, and how the video is compressed.
        selection: Fields of `Selection` that differ from those of the run that made the table.
        parts: What the points are, if the facts beside the table do not tell.
        overwrite: Whether a file that exists is replaced.
        progress: Makes of the opened source what is called with each result.

    Returns:
        The video's path and what was done.

    Raises:
        UsageError: An argument is invalid, the file exists already, or the table is not of this video.
        SourceError: The video cannot be read.
        SinkError: The new video cannot be written.
    """
    look, path = look or OutputSettings(), _target(Path(table), output)
    results = TableResults(table, parts=parts, untimed=True)
    if AXES in look.draw and "pose" not in results.table.groups:
        raise UsageError(
            f"{spelled('draw', AXES)} needs the columns pose, which {table} lacks; vtrack refine adds them"
        )
    chosen = replace(selection_of(results), **(selection or {}))
    check_targets([path], table, overwrite=overwrite)
    with open_source(video, **vars(InputSettings(**vars(chosen)))) as source:
        if source.info.photographs:
            raise UsageError(f"draw makes a video, and {video} is photographs")
        check_size(results, source)
        check_targets([path], source.info.path or table, overwrite=overwrite)
        entry = OUTPUTS[_VIDEO]
        options = {**vars(look), "source": source}
        sink = entry.load()(path, results.query, **{name: options[name] for name in entry.takes})
        sink.file.overwrite = overwrite
        with interruptible() as stop:
            report = progress(source) if progress is not None else lambda result: None
            summary = send(TablePlayer(results), source, [sink], stop=stop, progress=report)
    return path, summary


def _target(table: Path, output: str | Path | None) -> Path:
    """The path of the video."""
    path = named_after(table, OUTPUTS[_VIDEO].suffix) if output is None else given_path(output)
    check_kind(path, OUTPUTS[_VIDEO])
    return path


def selection_of(results: TableResults) -> Selection:
    """Which frames of the video a table was made of, by the facts beside it; all where nothing tells."""
    recorded = results.table.meta.get("options", {})
    try:
        return Selection(**{name: recorded[name] for name in vars(Selection()) if name in recorded})
    except UsageError:
        return Selection()
