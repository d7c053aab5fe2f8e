"""Tables in OpenFace 2's CSV format: written for scripts that expect them, and read back, those of OpenFace too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from vtrack.errors import TableError, UsageError, spelled
from vtrack.layouts import load_layout
from vtrack.pipelines.outputs.tables.columns import FACE, HEAD, POINTS, Field, RawTable, block_rows
from vtrack.pipelines.outputs.tables.text import TextSink, numbers, row_format
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
    layout = load_layout(_LAYOUT).query
    indices = {point: i for i, point in enumerate(zip(query.parts, query.positions, strict=True))}
    try:
        return [indices[point] for point in zip(layout.parts, layout.positions, strict=True)]
    except KeyError as error:
        raise UsageError(
            f"a table of format openface needs its 68 points; track {spelled('parts', '300w')}, or leave out {spelled('parts')}"
        ) from error


_LAYOUT = "300w"
_COUNT = 68
_HEAD = ("frame", "timestamp")
_OF_FACE = {"face_id": 0.0, "confidence": np.nan, "success": 1.0}
"""Columns of the face, and the value of those that a table lacks."""
_COORDINATES = tuple(f"{axis}_{i}" for axis in "xy" for i in range(_COUNT))


def is_openface(header: Sequence[str]) -> bool:
    """Return whether a table with this header is of OpenFace's form."""
    return "x_0" in header and "y_0" in header and "timestamp" in header


def read_openface(path: Path, header: Sequence[str], rows: Iterator[list[str]]) -> Iterator[RawTable]:
    """Yield the rows of a table of OpenFace's form as those of a wide one.

    Only the 68 points in the image and the columns before them are read, not gaze, pose, shape or action units. A row
    whose points are all 0 is a frame without a face. There is no sigma; the box is the tight one around the points.

    Args:
        path: The file, for messages.
        header: The names of its columns.
        rows: Its rows, each as long as the header.

    Raises:
        TableError: It lacks columns.
    """
    if missing := [name for name in (*_HEAD, *_COORDINATES) if name not in header]:
        raise TableError(f"{path}: a table of OpenFace's form without its column {missing[0]}")
    layout = load_layout(_LAYOUT)
    there = [name for name in _OF_FACE if name in header]
    pick = itemgetter(*(header.index(name) for name in (*_HEAD, *there, *_COORDINATES)))
    points = (f"{name}_{field.name}" for name in layout.query.names for field in POINTS.fields(layout.query))
    columns = [*(field.name for field in (*HEAD, *FACE.fields(layout.query))), *points]
    yield RawTable(columns, np.zeros((0, len(columns))), query=layout.query)
    while block := [pick(row) for row in itertools.islice(rows, block_rows(len(header)))]:
        read = numbers(block)
        if (read[:, 0] < 1).any():
            raise TableError(f"{path}: frames of OpenFace's form are counted from 1, got {read[:, 0].min():g}")
        of_face = {**_OF_FACE, **{name: read[:, len(_HEAD) + i] for i, name in enumerate(there)}}
        flat = read[:, -2 * _COUNT :]
        places = np.stack([flat[:, :_COUNT], flat[:, _COUNT:]], -1)  # (rows, points, 2)
        cells = np.full((len(read), len(columns)), np.nan)
        cells[:, 2], cells[:, 3], cells[:, 4] = of_face["face_id"], of_face["confidence"], of_face["success"]
        cells[:, 5:9] = layout.face_box(places)
        cells[:, 9::3], cells[:, 10::3] = places[..., 0], places[..., 1]
        cells[~flat.any(1), 2:] = np.nan
        cells[:, 0], cells[:, 1] = read[:, 0] - 1, read[:, 1]
        yield RawTable(columns, cells, query=layout.query)
