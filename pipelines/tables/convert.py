"""`convert_table`: a table in another format, or as a file for another program, with the same times, faces and points."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtrack.errors import UsageError, spelled
from vtrack.layouts.layout import points_of
from vtrack.measures import EyeEvent
from vtrack.options import words
from vtrack.pipelines.outputs.base import write_sidecar
from vtrack.pipelines.outputs.interchange.captions import Captions
from vtrack.pipelines.outputs.stdout import STDOUT
from vtrack.pipelines.outputs.tables.events import is_events, read_events
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.registry import CSV_FORMATS, INTERCHANGE, output_entry
from vtrack.pipelines.settings import InputSettings, OutputSettings, Settings
from vtrack.pipelines.tables.refine import events_of
from vtrack.pipelines.tables.targets import TableTarget, check_targets, table_target
from vtrack.query import parse_query, query_text
from vtrack.runtime.threads import interruptible
from vtrack.types import Query

_POSITIONS = "long"
"""The form whose rows tell positions."""


@dataclass(frozen=True, slots=True)
class ConvertedTable:
    """What was converted."""

    path: Path
    """The new table; `STDOUT` for stdout."""
    frames: int
    tracks: int
    """Faces, counted by their ids; of captions those with events."""
    events: int | None = None
    """Events in captions; None for anything else, and `frames` is 0 for captions."""


def convert_table(
    table: str | Path,
    to: str | None = None,
    output: str | Path | None = None,
    *,
    columns: Collection[str] | None = None,
    parts: str = "",
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    max_faces: int | None = None,
    overwrite: bool = False,
) -> ConvertedTable:
    """Write a table in another format and the facts beside it, or a file for another program.

    Args:
        table: The table, as `read_table` takes it; for captions also a table of events.
        to: Name of the format, see `table_formats` in `targets`; None for that of the ending of `output`.
        output: File to write; `-` for stdout; None for one beside the table, named after the format.
        columns: Groups of extra columns; None for those that the table has.
        parts: What the points are, if the facts beside the table do not tell.
        fps: Frames per second of a table without times.
        size: Width and height of the frames in pixels, if the facts beside the table do not tell; a dump of mediapipe's face
            mesh with coordinates from 0 to 1 needs it.
        max_faces: Number of faces for formats with a fixed number of columns; None for the most that a frame has.
        overwrite: Whether a file that exists is replaced.

    Returns:
        What was written.

    Raises:
        UsageError: The table or an argument is invalid, or the file exists already.
        SinkError: The file cannot be written.

    Example:
        convert_table("talk.vtrack.csv", "dlc").path  # talk.vtrack.dlc.csv
    """
    if fps is not None:
        InputSettings(fps=fps)  # checks its range
    target = table_target(Path(table), to, output)
    kind, format, path = target
    entry = CSV_FORMATS.get(format, output_entry(kind))
    if "max_faces" not in entry.takes and max_faces is not None:
        raise UsageError(f"{spelled('max_faces')} applies to {words(_with_fixed_columns())} only")
    if kind in INTERCHANGE and columns:
        raise UsageError(f"{entry.help} has no room for extra columns; leave out {spelled('columns')}")
    if output_entry(kind).measures:
        return _write_captions(table, target, overwrite=overwrite)
    if is_events(Path(table)):
        captions = [name for name, each in INTERCHANGE.items() if each.measures]
        raise UsageError(f"{table} is a table of events, which converts to {words(captions)} only")
    results = TableResults(table, fps=fps, parts=parts, size=size)
    if size is not None and results.size != size:
        width, height = results.size or size
        raise UsageError(
            f"{spelled('size')}: the frames of {table} have {width}x{height} pixels, as its .meta.json tells"
        )
    chosen = _columns(results, format, columns)
    _check_fit(results, format)
    check_targets([path], table, overwrite=overwrite)
    first = list(itertools.islice(results, 1))
    files = any(result.frame.file for result in first)
    if files and not entry.photographs:
        raise UsageError(f"{spelled('to', format)} applies to films only, and {table} is of photographs")
    options: dict[str, Any] = {"format": format, "columns": chosen, "files": files, "max_faces": None}
    options |= {"facts": results.table.meta, "size": None if results.photographs else results.size}
    if "max_faces" in entry.takes:
        options["max_faces"] = Settings(max_faces=max_faces).max_faces or _most_faces(
            TableResults(table, fps=fps, size=size)
        )
    output_kind = output_entry(kind)
    if "ids" in output_kind.takes:
        options["ids"] = sorted(
            {face.id for result in TableResults(table, fps=fps, size=size) for face in result.faces}
        )
    sink = output_kind.load()(path, results.query, **{name: options[name] for name in output_kind.takes})
    sink.file.overwrite = overwrite
    frames, ids = 0, set[int]()
    with interruptible() as stop, sink:
        for result in itertools.chain(first, results):
            if stop.is_set():
                raise KeyboardInterrupt
            sink.write(result)
            frames += 1
            ids.update(face.id for face in result.faces)
    converted = ConvertedTable(path, frames, len(ids))
    if path != STDOUT and kind not in INTERCHANGE:
        _write_facts(results, kind, format, chosen, converted)
    return converted


def _write_captions(table: str | Path, target: TableTarget, *, overwrite: bool) -> ConvertedTable:
    """Write the events of a table of them, or of a table of faces with the columns `raw`, as captions."""
    events: Iterable[EyeEvent]
    if is_events(Path(table)):
        events = read_events(Path(table))
    elif "raw" in TableResults(table, untimed=True).table.groups:
        events = events_of(table)
    else:
        raise UsageError(
            f"{table} has neither events nor the raw columns to find them; run again with {spelled('columns', 'raw')} or "
            f"{spelled('events', True)}, and convert what is written"
        )
    check_targets([target.path], table, overwrite=overwrite)
    sink: Captions = output_entry(target.kind).load()(target.path, Query((), ()), kind=target.kind)
    sink.file.overwrite = overwrite
    count, ids = 0, set[int]()
    with interruptible() as stop, sink:
        for event in events:
            if stop.is_set():
                raise KeyboardInterrupt
            sink.add(event)
            count += 1
            ids.add(event.face)
    return ConvertedTable(target.path, 0, len(ids), count)


def _columns(results: TableResults, format: str, columns: Collection[str] | None) -> tuple[str, ...]:
    """Groups of columns of the new table."""
    takes = (CSV_FORMATS[format] if format in CSV_FORMATS else output_entry(format)).takes
    there = results.table.groups
    if columns is None:
        chosen = there if "columns" in takes else ()
    else:
        form = format if format in CSV_FORMATS else OutputSettings.format
        chosen = tuple(OutputSettings(format=form, columns=tuple(columns)).columns)
        computed = ("inside",) * (results.size is not None)
        if missing := [name for name in chosen if name not in (*there, *computed)]:
            raise UsageError(
                f"{results.table.path} has no columns {missing[0]}; choose from {', '.join(there) or 'none'}"
            )
    if "inside" in chosen and results.size is None:
        others = ",".join(name for name in chosen if name != "inside") or "none"
        raise UsageError(
            f"{results.table.path}: whether points lie inside the frame needs its size, which its .meta.json tells; keep "
            f"that file beside the table, or leave the column out by {spelled('columns', others)}"
        )
    return chosen


def _check_fit(results: TableResults, format: str) -> None:
    """Raise `UsageError` if the points of a table do not fit a format."""
    path, known = results.table.path, results.table.query
    if format == _POSITIONS and known is None:
        raise UsageError(
            f"{path} does not tell where on their parts its points lie, as {spelled('to', format)} needs; keep its "
            f".meta.json beside it, or add {spelled('parts', 'QUERY')} as it was tracked"
        )
    needed = CSV_FORMATS[format].parts if format in CSV_FORMATS else ""
    if needed and not set(points_of(parse_query(needed))) <= set(points_of(known or results.query)):
        raise UsageError(f"{spelled('to', format)} needs the points of {needed}, which {path} has not")


def _with_fixed_columns() -> list[str]:
    return [name for name, entry in {**CSV_FORMATS, **INTERCHANGE}.items() if "max_faces" in entry.takes]


def _most_faces(results: TableResults) -> int:
    """Largest number of faces in a frame of a table, at least 1."""
    return max((len(result.faces) for result in results), default=1) or 1


def _write_facts(
    results: TableResults, kind: str, format: str, columns: tuple[str, ...], converted: ConvertedTable
) -> None:
    """Write the facts of a table beside the new one; those of a table without any are what its points are."""
    meta, query = results.table.meta, results.table.query
    if not meta and query is None:
        return
    form = format if format in CSV_FORMATS else OutputSettings.format
    changed = {"outputs": [kind], "format": form, "columns": list(columns)}
    points = {"parts": query_text(query)} if query is not None else {}
    model, source = (dict(meta.get(name, {})) for name in ("model", "source"))
    if results.size is not None:
        source["width"], source["height"] = results.size
    counts = {"frames": converted.frames, "tracks": converted.tracks}
    options = {**meta.get("options", {}), **points, **changed}
    write_sidecar(converted.path, options=options, model=model, source=source, counts=counts)
