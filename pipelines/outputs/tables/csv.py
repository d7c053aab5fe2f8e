"""CSV tables: wide (one row for each face) and long (one row for each point).

UTF-8, comma, one header row, `.` as decimal point in every locale. Times have 6 decimals (microseconds), pixels 3,
presence 4. Coordinates are pixels of the displayed frame. Every frame has a row, with empty cells if it has no face. A row
is one `%` operation with a format prepared for the whole row, so that writing is faster than any model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.outputs.tables.columns import HEAD, RAW, Columns, choose_groups, frame_fields, head_fields
from vtrack.pipelines.outputs.tables.text import TextSink, csv_line, row_format, without_nan
from vtrack.pipelines.registry import CSV_FORMATS
from vtrack.pipelines.settings import OutputSettings
from vtrack.types import FloatArray, FrameResult, Query

LABELS = ("part", "position", "point")
"""Columns of the long table that say which point a row is about."""


def open_table(
    path: str | Path,
    query: Query,
    *,
    format: str = OutputSettings.format,
    columns: Collection[str] = (),
    max_faces: int | None = None,
    files: bool = False,
) -> Sink:
    """Open a CSV table.

    Args:
        path: File to write.
        query: The points of the faces.
        format: Form of the table, see `CSV_FORMATS`.
        columns: Names of extra column groups.
        max_faces: Number of faces for forms with a fixed number of columns.
        files: Whether frames are image files, whose names forms with a column `file` give.

    Raises:
        UsageError: The form or a column group is unknown, or the form has no extra columns.
    """
    chosen = OutputSettings(format=format, columns=tuple(columns))
    entry, options = (
        CSV_FORMATS[chosen.format],
        {"columns": chosen.columns, "max_faces": max_faces or 1, "files": files},
    )
    sink: Sink = entry.load()(path, query, **{name: options[name] for name in entry.takes})
    return sink


class WideTable(TextSink):
    """A table with one row for each face of each frame.

    Args:
        path: File to write.
        query: The points of the faces.
        columns: Names of extra column groups.
        files: Whether frames are image files, and rows name them.
    """

    def __init__(self, path: str | Path, query: Query, columns: Collection[str] = (), *, files: bool = False) -> None:
        super().__init__(path)
        self._files = files
        self._columns = Columns(query, columns)
        head, fields = head_fields(files, columns), self._columns.of_face
        self._names = [field.name for field in (*head, *fields)]
        self._row = row_format((*head, *fields))
        self._empty = row_format(head, empty=len(fields))

    def _header(self) -> str:
        return csv_line(self._names)

    def _rows(self, result: FrameResult) -> str:
        head = _head(result, self._files, cut=bool(self._columns.of_frame))
        if not result.faces:
            return self._empty % head
        rows = (self._row % (*head, *self._columns.values(face, result.frame)) for face in result.faces)
        return without_nan("".join(rows))


class LongTable(TextSink):
    """A table with one row for each point of each face of each frame.

    The columns `part,position,point` identify the point; its own columns follow. Of the points that the columns `raw` add to
    those of the query, no more than these columns are there.

    Args:
        path: File to write.
        query: The points of the faces.
        columns: Names of extra column groups.
        files: Whether frames are image files, and rows name them.
    """

    def __init__(self, path: str | Path, query: Query, columns: Collection[str] = (), *, files: bool = False) -> None:
        super().__init__(path)
        self._files = files
        groups = choose_groups(columns)
        self._face_groups = [group for group in groups if not group.of_points and group.added is None]
        self._point_groups = [group for group in groups if group.of_points]
        self._added_groups = added = [group for group in groups if group.added is not None]
        self._cut = bool(frame_fields(columns))
        head = head_fields(files, columns)
        self._face_fields = (*head, *(field for group in self._face_groups for field in group.fields(query)))
        self._point_fields = tuple(field for group in self._point_groups for field in group.fields(query))
        # The cells of the face are the same in each of its rows; "%s" stands for them.
        own = row_format(self._point_fields)
        self._block = "".join(f"%s,{label},{own}" for label in _escaped_labels(query))
        raw = ",".join(field.text if field in RAW else "" for field in self._point_fields)
        self._added = [
            "".join(f"%s,{label},{raw}\n" for label in _escaped_labels(group.added)) for group in added if group.added
        ]
        self._face = row_format(self._face_fields).rstrip("\n")
        self._empty = row_format(head, empty=len(self._face_fields) - len(head) + 3 + len(self._point_fields))

    def _header(self) -> str:
        names = [field.name for field in self._face_fields]
        return csv_line([*names, *LABELS, *(field.name for field in self._point_fields)])

    def _rows(self, result: FrameResult) -> str:
        head = _head(result, self._files, cut=self._cut)
        if not result.faces:
            return self._empty % head
        blocks = []
        for face in result.faces:
            of_face = np.concatenate([group.values(face, result.frame) for group in self._face_groups]).tolist()
            prefix = self._face % (*head, *of_face)
            values = np.column_stack([group.values(face, result.frame) for group in self._point_groups])
            blocks.append(self._block % _with_prefix(prefix, values))
            for block, group in zip(self._added, self._added_groups, strict=True):
                blocks.append(block % _with_prefix(prefix, group.values(face, result.frame)))
        return without_nan("".join(blocks))


def stack_tables(path: Path, column: str, tables: Mapping[str, Path]) -> None:
    """Write tables of one form below each other. Where only some of them name files, the others get an empty column.

    Args:
        path: File to write.
        column: Name of the column that comes first.
        tables: Path of each table by its cell in that column.
    """
    headers = [_first_line(table) for table in tables.values()]
    widest = max(headers, key=len, default="")
    with path.open("w", encoding="utf-8", newline="") as out:
        out.write(f"{column},{widest}" if tables else "")
        for (name, table), header in zip(tables.items(), headers, strict=True):
            with table.open(encoding="utf-8", newline="") as lines:
                next(lines, "")
                prefix = csv_line([name]).rstrip("\n") + ","
                if header == widest:
                    out.writelines(prefix + line for line in lines)
                    continue
                for line in lines:
                    *head, rest = line.split(",", len(HEAD))
                    out.write(prefix + ",".join([*head, "", rest]))


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", newline="") as lines:
        return next(lines, "")


def point_labels(query: Query) -> list[str]:
    """The cells that say which point a row of the long table is about, of each point."""
    points = zip(query.parts, query.positions, query.names, strict=True)
    return [csv_line([part, f"{position:.4f}", name]).rstrip("\n") for part, position, name in points]


def _escaped_labels(query: Query) -> list[str]:
    """The labels for a `%` format."""
    return [label.replace("%", "%%") for label in point_labels(query)]


def _with_prefix(prefix: str, values: FloatArray) -> tuple[float | str, ...]:
    """The cells of rows of points, those of their face before each."""
    return tuple(cell for row in values.tolist() for cell in (prefix, *row))


def _head(result: FrameResult, files: bool, *, cut: bool) -> tuple[object, ...]:
    """The values of the columns of the frame."""
    file = [csv_line([result.frame.file]).rstrip("\n")] if files else []
    return (result.index, result.time, *file, *[result.frame.cut] * cut)
