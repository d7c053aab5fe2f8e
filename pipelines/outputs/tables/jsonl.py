"""JSON lines: one object a frame, `{"frame": 0, "time_s": 0.0, "faces": [{"face": 1, ...}]}`.

Names and order of the values are those of the wide CSV table's columns.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from vtrack.pipelines.outputs.tables.columns import HEAD, Columns, Field
from vtrack.pipelines.outputs.tables.text import TextSink
from vtrack.types import FrameResult, Query


class JsonLine:
    """Writes a frame as one line of JSON."""

    def __init__(self, query: Query, columns: Collection[str] = ()) -> None:
        self._columns = Columns(query, columns)
        self._face = _object_format(self._columns.of_face)
        self._frame = _object_format(HEAD).replace("}", ', "faces": [%s]}\n')

    def __call__(self, result: FrameResult) -> str:
        """The line, with its end."""
        faces = [self._face % tuple(self._columns.values(face, result.frame)) for face in result.faces]
        # JSON knows no NaN. A name cannot be taken for one: it stands in quotes, a number after ": ".
        numbers = [face.replace(": nan", ": null") if ": nan" in face else face for face in faces]
        return self._frame % (result.index, result.time, ", ".join(numbers))


class JsonLines(TextSink):
    """One JSON object a frame."""

    def __init__(self, path: str | Path, query: Query, columns: Collection[str] = ()) -> None:
        super().__init__(path)
        self._line = JsonLine(query, columns)

    def _head(self) -> str:
        return ""

    def _rows(self, result: FrameResult) -> str:
        return self._line(result)


def _object_format(fields: Collection[Field]) -> str:
    """The `%` format of a JSON object with these fields."""
    return "{" + ", ".join(f"{json.dumps(field.name).replace('%', '%%')}: {field.text}" for field in fields) + "}"
