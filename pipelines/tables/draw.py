"""`draw_table`: the faces of a table, or of two, on the frames of their video, as `run --video` draws them, without a model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.drawing.palette import COMPARED_COLORS
from vtrack.pipelines.outputs.paths import given_path
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.pipeline import Summary, queue_size, send
from vtrack.pipelines.registry import DRAWN_GROUPS, OUTPUTS
from vtrack.pipelines.settings import InputSettings, OutputSettings, Selection
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.open import open_source
from vtrack.pipelines.tables.fit import check_frame, check_size, misfit
from vtrack.pipelines.tables.targets import check_kind, check_targets, named_after
from vtrack.runtime.stopwatch import Stopwatch
from vtrack.runtime.threads import ReadAhead, interruptible
from vtrack.types import Face, Frame, FrameResult

_VIDEO = "video"


class _FacesOfFrames:
    """The faces of a table by the frames of a source, asked for in order.

    Args:
        table: The table, not yet read.
        source: The source, which it must be of.
    """

    def __init__(self, table: TableResults, source: Source) -> None:
        self._table, self._source = table, source
        self._path, self._timed = table.table.path, table.table.timed
        self._wanted = next(table, None)
        self._last = -1

    def at(self, frame: Frame) -> tuple[Face, ...]:
        """The faces of the next frame; none if the table has no row for it."""
        selection = self._source.selection
        while self._wanted is not None and self._wanted.index < frame.index:
            if selection.every == 1 and (selection.start is None or self._wanted.time >= selection.start):
                raise misfit(self._path, self._source, f"the video has no frame {self._wanted.index}")
            self._wanted = next(self._table, None)
        self._last = frame.index
        if self._wanted is None or self._wanted.index != frame.index:
            return ()
        check_frame(self._path, self._source, frame, self._wanted.time if self._timed else None)
        faces, self._wanted = self._wanted.faces, next(self._table, None)
        return faces

    def check_end(self) -> None:
        """Raise `UsageError` if the table has frames after the last one of the source."""
        if self._wanted is not None and self._wanted.index >= self._last + self._source.selection.every:
            ends = f"the table has a frame {self._wanted.index}, and the video ends with {self._last}"
            raise misfit(self._path, self._source, ends)


class TablePlayer:
    """Gives the frames of a video the faces of a table: a maker of results in the place of a pipeline.

    Args:
        table: The table, not yet read.
        below: Other tables of the video, and how their faces are drawn on the pixels of the frames.
    """

    spent = 0.0

    def __init__(self, table: TableResults, below: Sequence[tuple[TableResults, Drawing]] = ()) -> None:
        self._table, self._below = table, below

    def results(
        self,
        source: Source,
        *,
        stop: threading.Event | None = None,
        pixels: bool = True,
        watch: Stopwatch | None = None,
    ) -> Generator[FrameResult]:
        """Yield one result for each frame of a source; frames that the table has no row for have no faces.

        Raises:
            TableError: The table is damaged.
            UsageError: It is not of this video.
        """
        watch = watch or Stopwatch()
        table = _FacesOfFrames(self._table, source)
        below = [(_FacesOfFrames(other, source), other.query, drawing) for other, drawing in self._below]
        with ReadAhead(watch.time_items("decode", iter(source)), queue_size(source), stop, source.abandon) as frames:
            for frame in frames:
                shown = frame if pixels else frame.without_pixels()
                for other, query, drawing in below:
                    shown = replace(shown, pixels=drawing.pixels(FrameResult(shown, other.at(frame), query)))
                yield FrameResult(shown, table.at(frame), self._table.query)
        if source.selection.stop is None and not (stop is not None and stop.is_set()):
            for each in (table, *(other for other, _, _ in below)):
                each.check_end()


def draw_table(
    table: str | Path,
    video: str,
    output: str | Path | None = None,
    *,
    other: str | Path | None = None,
    look: OutputSettings | None = None,
    selection: dict[str, Any] | None = None,
    parts: str = "",
    other_parts: str = "",
    overwrite: bool = False,
    progress: Callable[[Source], Callable[[FrameResult], object]] | None = None,
) -> tuple[Path, Summary]:
    """Draw the faces of a table on its video.

    Args:
        table: The table, as `read_table` takes it.
        video: What it was made of: a video file, address or folder of numbered images.
        output: Video to write; None for one beside the table.
        other: Another table of the video, drawn in blue below the first, of which all is orange then.
        look: What is drawn, and how the video is compressed.
        selection: Fields of `Selection` that differ from those of the run that made the table.
        parts: What the points are, if the facts beside the table do not tell.
        other_parts: What those of the other table are.
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
    others = [] if other is None else [TableResults(other, parts=other_parts, untimed=True)]
    if other is None and other_parts:
        raise UsageError(f"{spelled('other_parts')} needs {spelled('other', 'OTHER', flag='--with')}")
    for each in (results, *others):
        for kind, group in DRAWN_GROUPS.items():
            if kind in look.draw and group not in each.table.groups:
                needs = f"{spelled('draw', kind)} needs the columns {group}"
                raise UsageError(f"{needs}, which {each.table.path} lacks; vtrack refine adds them")
        check_targets([path], each.table.path, overwrite=overwrite)
    chosen = replace(selection_of(results), **(selection or {}))
    with open_source(video, **vars(InputSettings(**vars(chosen)))) as source:
        if source.info.photographs:
            raise UsageError(f"draw makes a video, and {video} is photographs")
        for each in (results, *others):
            check_size(each, source)
        check_targets([path], source.info.path or table, overwrite=overwrite)
        entry = OUTPUTS[_VIDEO]
        options = {**vars(look), "source": source}
        first, second = COMPARED_COLORS
        color = first if others else None
        sink = entry.load()(path, results.query, color=color, **{name: options[name] for name in entry.takes})
        sink.file.overwrite = overwrite
        with interruptible() as stop:
            report = progress(source) if progress is not None else lambda result: None
            below = [(each, Drawing(each.query, look.draw, color=second)) for each in others]
            summary = send(TablePlayer(results, below), source, [sink], stop=stop, progress=report)
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
