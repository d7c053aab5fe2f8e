"""Tables in OpenFace 2's CSV format, for scripts written for OpenFace."""

from __future__ import annotations

from pathlib import Path

from vtrack.errors import UsageError, spelled
from vtrack.layouts import load_layout
from vtrack.pipelines.outputs.tables.columns import Field
from vtrack.pipelines.outputs.tables.text import TextSink, row_format
from vtrack.types import FrameResult, Query


class OpenFaceTable(TextSink):
    """The CSV table that OpenFace writes for 2D landmarks: comma and space, frames from 1, all x before all y.

    A frame without a face has face 0, confidence 0, success 0 and zero coordinates, as in OpenFace. `success` is also 0
    where a face was not seen and its points are predicted.

    Args:
        path: File to write.
        query: The points of the faces.

    Raises:
        UsageError: The query lacks points of the 68-point layout.
    """

    def __init__(self, path: str | Path, query: Query) -> None:
        super().__init__(path)
        self._order = _indices_of_68(query)
        one_decimal = [Field(f"{axis}_{i}", digits=1) for axis in "xy" for i in range(len(self._order))]
        self._fields = (
            Field("frame", "int"),
            Field("face_id", "int"),
            Field("timestamp", digits=3),
            Field("confidence", digits=2),
            Field("success", "int"),
            *one_decimal,
        )
        self._row = row_format(self._fields, separator=", ")

    def _header(self) -> str:
        return ", ".join(field.name for field in self._fields) + "\n"

    def _rows(self, result: FrameResult) -> str:
        number, time = result.index + 1, result.time
        if not result.faces:
            return self._row % (number, 0, time, 0, 0, *[0] * (2 * len(self._order)))
        return "".join(
            self._row
            % (number, face.id, time, face.presence, face.measured, *face.points[self._order].T.ravel().tolist())
            for face in result.faces
        )


def _indices_of_68(query: Query) -> list[int]:
    """Return the indices in a query of OpenFace's 68 points, in its order."""
    layout = load_layout("300w").query
    indices = {point: i for i, point in enumerate(zip(query.parts, query.positions, strict=True))}
    try:
        return [indices[point] for point in zip(layout.parts, layout.positions, strict=True)]
    except KeyError as error:
        raise UsageError(
            f"a table of format openface needs its 68 points; track {spelled('parts', '300w')}, or leave out {spelled('parts')}"
        ) from error
