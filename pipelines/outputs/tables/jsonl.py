"""JSON lines: one object for each frame, `{"frame": 0, "time_s": 0.0, "faces": [{"face": 1, ...}]}`.

Names and order of the values are those of the wide CSV table's columns.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from vtrack.errors import DataError
from vtrack.pipelines.outputs.tables.columns import FILE, HEAD, Columns, Field, RawTable, head_fields
from vtrack.pipelines.outputs.tables.text import TextSink
from vtrack.types import FrameResult, Query


class JsonFormatter:
    """Formats a frame as one line of JSON.

    Args:
        query: The points of the faces.
        columns: Names of extra column groups.
        files: Whether frames are image files, and are named.

    Raises:
        UsageError: A column group is unknown.
    """

    def __init__(self, query: Query, columns: Collection[str] = (), *, files: bool = False) -> None:
        self._columns, self._files = Columns(query, columns), files
        self._face = _object_format(self._columns.of_face)
        self._frame = _object_format(head_fields(files)).replace("}", ', "faces": [%s]}\n')

    def __call__(self, result: FrameResult) -> str:
        """Return the line, with the newline."""
        faces = [self._face % tuple(self._columns.values(face, result.frame)) for face in result.faces]
        # JSON has no NaN. Names stay as they are: only a number follows ": " without a quote.
        faces = [face.replace(": nan", ": null") if ": nan" in face else face for face in faces]
        name = (json.dumps(result.frame.file, ensure_ascii=False),) if self._files else ()
        return self._frame % (result.index, result.time, *name, ", ".join(faces))


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


def read_cells(path: Path) -> RawTable:
    """Read a table.

    Raises:
        DataError: It is not vtrack's JSON.
    """
    frames = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    try:
        rows = [(frame, face) for frame in frames for face in frame["faces"] or [{}]]
        files = tuple(str(frame[FILE.name]) for frame, _ in rows) if rows and FILE.name in rows[0][0] else ()
        of_face = list(next((face for _, face in rows if face), {}))
        cells = [
            [frame["frame"], frame["time_s"], *(np.nan if face.get(name) is None else face[name] for name in of_face)]
            for frame, face in rows
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not vtrack's JSON lines: {error!r}") from error
    header = [*(field.name for field in HEAD), *of_face]
    return RawTable(header, np.array(cells, np.float64).reshape(len(cells), len(header)), files)


def _object_format(fields: Collection[Field]) -> str:
    """Return the `%` format of a JSON object with these fields."""
    return "{" + ", ".join(f"{json.dumps(field.name).replace('%', '%%')}: {field.text}" for field in fields) + "}"
