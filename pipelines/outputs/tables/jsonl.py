"""JSON lines: one object for each frame, `{"frame": 0, "time_s": 0.0, "faces": [{"face": 1, ...}]}`.

Names and order of the values are those of the wide CSV table's columns. In streams `"events": [{...}]` may follow: what the
eyes did that ended with the frame, with the names of the table of events.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.errors import TableError
from vtrack.pipelines.outputs.tables.columns import (
    CUT,
    FILE,
    HEAD,
    Columns,
    Field,
    RawTable,
    block_rows,
    head_fields,
)
from vtrack.pipelines.outputs.tables.events import event_json
from vtrack.pipelines.outputs.tables.mesh.objects import is_mesh_frame, read_mesh_objects
from vtrack.pipelines.outputs.tables.text import TextSink
from vtrack.types import FrameResult, Query


class JsonFormatter:
    """Formats a frame as one line of JSON.

    Args:
        query: The points of the faces.
        columns: Names of extra column groups.
        files: Whether frames are image files, and are named.
        events: Whether the events of the frame follow.

    Raises:
        UsageError: A column group is unknown.
    """

    def __init__(
        self, query: Query, columns: Collection[str] = (), *, files: bool = False, events: bool = False
    ) -> None:
        self._columns, self._files = Columns(query, columns), files
        self._face = _object_format(self._columns.of_face)
        self._events = events
        last = ', "events": [%s]' * events
        self._frame = _object_format(head_fields(files, columns)).replace("}", f', "faces": [%s]{last}}}\n')

    def __call__(self, result: FrameResult) -> str:
        """Return the line, with the newline."""
        faces = [self._face % tuple(self._columns.values(face, result.frame)) for face in result.faces]
        # JSON has no NaN. Names stay as they are: only a number follows ": " without a quote.
        faces = [face.replace(": nan", ": null") if ": nan" in face else face for face in faces]
        name = (json.dumps(result.frame.file, ensure_ascii=False),) if self._files else ()
        events = (", ".join(map(event_json, result.events)),) if self._events else ()
        cut = [result.frame.cut] * len(self._columns.of_frame)
        return self._frame % (result.index, result.time, *name, *cut, ", ".join(faces), *events)


class JsonLines(TextSink):
    """A file with one JSON object for each frame.

    Args:
        path: File to write.
        query: The points of the faces.
        columns: Names of extra column groups.
        files: Whether frames are image files, and are named.
    """

    def __init__(self, path: str | Path, query: Query, columns: Collection[str] = (), *, files: bool = False) -> None:
        super().__init__(path)
        self._format = JsonFormatter(query, columns, files=files)

    def _header(self) -> str:
        return ""

    def _rows(self, result: FrameResult) -> str:
        return self._format(result)


def read_blocks(path: Path) -> Iterator[RawTable]:
    """Read a table block by block; at least one.

    Raises:
        TableError: It is neither vtrack's JSON nor a dump of mediapipe's face mesh.
    """
    try:
        if any(map(is_mesh_frame, _first(path))):
            yield from read_mesh_objects(path, _frames(path))
            return
        # The first frame and the first face of the file name the columns.
        of_frame = [*(field.name for field in HEAD), *(CUT.name for frame in _first(path) if CUT.name in frame)]
        first: dict[str, Any] = next((face for frame in _frames(path) for face in frame["faces"]), {})
        of_face = list(first)
        # A single name would give a cell instead of a tuple of them.
        cells_of = itemgetter(*of_face, *of_face[:1]) if of_face else tuple
        header = [*of_frame, *of_face]
        yield RawTable(header, np.zeros((0, len(header))))
        rows = ((frame, face) for frame in _frames(path) for face in frame["faces"] or [{}])
        while block := list(itertools.islice(rows, block_rows(len(header)))):
            cells = np.full((len(block), len(header)), np.nan)
            cells[:, : len(of_frame)] = [[frame[name] for name in of_frame] for frame, _ in block]
            places = [place for place, (_, face) in enumerate(block) if face]
            if places:
                faces = np.array([cells_of(block[place][1]) for place in places], np.float64)
                cells[places, len(of_frame) :] = faces[:, : len(of_face)]
            files = tuple(str(frame[FILE.name]) for frame, _ in block) if FILE.name in block[0][0] else ()
            yield RawTable(header, cells, files)
    except (KeyError, TypeError, AttributeError) as error:
        raise TableError(f"{path}: not vtrack's JSON lines: {error!r}") from error


def _first(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the first frame of a file, if it has any."""
    yield from itertools.islice(_frames(path), 1)


def _frames(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the frames of a file."""
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _object_format(fields: Collection[Field]) -> str:
    """Return the `%` format of a JSON object with these fields."""
    return "{" + ", ".join(f"{json.dumps(field.name).replace('%', '%%')}: {field.text}" for field in fields) + "}"
