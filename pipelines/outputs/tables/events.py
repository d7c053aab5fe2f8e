"""The table of events: a row for each blink, wink, squint and closure of the eyes, in order of their ends."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.errors import TableError
from vtrack.measures import EyeEvent, LidMotion
from vtrack.pipelines.outputs.tables.columns import SHARE_DIGITS, TIME_DIGITS, Field
from vtrack.pipelines.outputs.tables.text import TextSink, csv_line, row_format
from vtrack.types import FrameResult, Query

_LIDS = (
    *(Field(f"{moment}_s", digits=TIME_DIGITS) for moment in ("start", "peak", "end")),
    *(Field("amplitude", digits=SHARE_DIGITS), Field("sigma", digits=SHARE_DIGITS), Field("complete", "bool")),
)
"""Columns of a motion of lids."""
FIELDS = (
    *(Field("face", "int"), Field("kind", "text"), Field("eye", "text"), Field("whole", "bool")),
    *_LIDS,
    *(Field(f"{eye}_{field.name}", field.kind, field.digits) for eye in ("left", "right") for field in _LIDS),
)
"""Columns of the table."""
_NAMES = [field.name for field in FIELDS]
_KINDS, _EYES = ("blink", "closure", "squint", "wink"), ("left", "right", "both")
"""What `EyeEvent.kind` and `EyeEvent.eye` may be."""


class EventTable(TextSink):
    """A table with one row for each event, as CSV, or as one JSON object a line.

    Args:
        path: File to write; JSON if it ends in `.jsonl` or `.ndjson`.
        query: The points of the faces, on which nothing depends.
    """

    def __init__(self, path: str | Path, query: Query) -> None:
        super().__init__(path)
        self._json = _is_json(Path(path))
        self._row = row_format(FIELDS)

    def _header(self) -> str:
        return "" if self._json else csv_line(_NAMES)

    def _rows(self, result: FrameResult) -> str:
        if self._json:
            return "".join(f"{event_json(event)}\n" for event in result.events)
        return "".join(self._row % tuple(event_cells(event)) for event in result.events)


def event_cells(event: EyeEvent) -> Iterator[float | str]:
    """Yield the value of each column of `FIELDS`."""
    yield from (event.face, event.kind, event.eye, event.whole)
    for lids in (event.lids, event.left, event.right):
        yield from (lids.start, lids.peak, lids.end, lids.amplitude, lids.sigma, lids.complete)


def event_json(event: EyeEvent) -> str:
    """Return an event as a JSON object with the columns of the table as names."""
    cells = zip(FIELDS, event_cells(event), strict=True)
    return json.dumps({field.name: round(cell, field.digits) if type(cell) is float else cell for field, cell in cells})


def is_events(path: Path) -> bool:
    """Return whether a file is a table of events; an empty file of JSON lines is one without any."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(1 << 16)
            if _is_json(path):
                return not first or {*json.loads(first)} == {*_NAMES}
            return next(csv.reader([first]), []) == _NAMES
    except (OSError, ValueError, TypeError, RecursionError, csv.Error):
        return False


def read_events(path: Path) -> Iterator[EyeEvent]:
    """Yield the events of a table.

    Raises:
        TableError: It is damaged.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = map(json.loads, file) if _is_json(path) else csv.DictReader(file)
        count = 0
        try:
            for row in rows:
                lids, left, right = (_lids(row, prefix) for prefix in ("", "left_", "right_"))
                kind, eye = row["kind"], row["eye"]
                if kind not in _KINDS or eye not in _EYES:
                    raise ValueError(f"no event is of kind {kind!r} and eye {eye!r}")
                yield EyeEvent(int(row["face"]), kind, eye, bool(int(row["whole"])), lids, left, right)
                count += 1
        except (ValueError, TypeError, KeyError, csv.Error) as error:
            raise TableError(f"{path}: damaged table of events after event {count}: {str(error)[:80]}") from error


def _lids(row: Mapping[str, Any], prefix: str) -> LidMotion:
    """The motion of lids in the columns with a prefix."""
    names = [field.name for field in _LIDS if field.kind == "float"]
    numbers = {name: float(row[prefix + name]) for name in names}
    if not np.isfinite([*numbers.values()]).all():
        raise ValueError("it holds a number that is not finite")
    return LidMotion(*numbers.values())


def _is_json(path: Path) -> bool:
    return path.suffix.lower() in (".jsonl", ".ndjson")
