"""OpenFace 2's CSV, so that scripts made for it run on our tables."""

from __future__ import annotations

from pathlib import Path

from vtrack.errors import UsageError
from vtrack.layouts import load_layout
from vtrack.pipelines.outputs.tables.columns import Field
from vtrack.pipelines.outputs.tables.text import TextSink, row_format
from vtrack.types import FrameResult, Query


class OpenFaceTable(TextSink):
    """What OpenFace writes for a video with 2D landmarks: comma and space, frames from 1, all x before all y.

    Without a face: face 0, confidence and success 0, and zeros, as there. `success` is also 0 where a face was not seen
    and its points are predicted.
    """

    def __init__(self, path: str | Path, query: Query) -> None:
        super().__init__(path)
        self._order = _places_of_68(query)
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

    def _head(self) -> str:
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


def _places_of_68(query: Query) -> list[int]:
    """Where in a query the 68 points stand that OpenFace writes, in its order."""
    wanted = load_layout("300w").query
    places = {point: i for i, point in enumerate(zip(query.parts, query.positions, strict=True))}
    try:
        return [places[point] for point in zip(wanted.parts, wanted.positions, strict=True)]
    except KeyError as error:
        raise UsageError(
            "a table of format openface holds the 68-point layout; ask for it with --parts 300w"
        ) from error
