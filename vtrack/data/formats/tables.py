"""Reads points in a CSV: `file[,split][,group]`, then `x1,y1,x2,y2,...` in the order of a layout.

User-defined points need no layout: columns `left_eye@0.5_x,left_eye@0.5_y` give part and position.
The centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.data.formats import folders
from vtrack.errors import DataError, EmptySplitError, QueryError
from vtrack.layouts import Layout, layout_of_query
from vtrack.query import parse_query
from vtrack.types import FloatArray

_LEADING = ("file", "split", "group")
LARGEST_TABLE = 1 << 30
"""Bytes of a table, which is read whole: a million faces of 68 points have 800 MB."""
_FARTHEST = 1e6
"""Pixels from the corner of a picture that a point may be away; no picture is as large."""


@dataclass(frozen=True, eq=False, slots=True)
class Labels:
    """The rows of a table."""

    layout: Layout
    files: tuple[str, ...]
    groups: tuple[str, ...]
    points: FloatArray
    """(faces, points, 2) float32."""

    def dataset(self, name: str, read: Callable[[str], bytes]) -> Dataset:
        """A data set of these faces; `read` reads their pictures."""
        return Dataset(name, self.layout, self.files, self.points, self.groups, read)


def read_table(name: str, layout: Layout | None, path: Path, split: str) -> Dataset:
    """Read a CSV whose pictures are named relative to its folder."""
    try:
        if path.stat().st_size > LARGEST_TABLE:
            raise DataError(f"{path}: it has more than {LARGEST_TABLE >> 20} MB; split it into several tables")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable CSV: {error}") from error
    return parse_table(text, path, layout, split).dataset(name, folders.reader(path.parent, path))


def parse_table(text: str, path: Path, layout: Layout | None, split: str) -> Labels:
    """Parse the rows of one split.

    Args:
        text: Content of the table.
        path: Its file, for messages.
        layout: Layout of the points; None if the columns name part and position.
        split: `train`, `val`, `test` or `all`.
    """
    try:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
    except csv.Error as error:
        raise DataError(f"{path}: not a readable CSV: {error}") from error
    header, rows = rows[0] if rows else [], rows[1:]
    leading = [column for column in header if column in _LEADING]
    if header[: len(leading)] != leading or "file" not in leading:
        raise DataError(f"{path}: the first columns must be file, split and group (the last two may be left out)")
    columns = header[len(leading) :]
    if layout is None:
        layout = _own_layout(path, columns)
    if len(columns) != 2 * len(layout):
        raise DataError(f"{path}: {len(columns) / 2:g} points a face, but the layout {layout.name} has {len(layout)}")
    if not rows:
        raise DataError(f"{path}: no faces in it")
    for row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}: the row of {row[0]} has {len(row)} cells, the header {len(header)}")
    rows = _of_split(path, rows, leading, split)
    try:
        values = np.array([row[len(leading) :] for row in rows], np.float32)
    except ValueError as error:
        raise DataError(f"{path}: a coordinate is not a number: {error}") from error
    far = np.abs(values).max(1) > _FARTHEST
    if far.any():
        raise DataError(
            f"{path}: the row of {rows[int(far.argmax())][0]} has a coordinate beyond {_FARTHEST:g} pixels; "
            "points are given in pixels of their picture"
        )
    at = {column: i for i, column in enumerate(leading)}
    files = tuple(row[at["file"]] for row in rows)
    groups = tuple(row[at["group"]] for row in rows) if "group" in at else files
    return Labels(layout, files, groups, values.reshape(len(rows), -1, 2))


def _of_split(path: Path, rows: list[list[str]], leading: list[str], split: str) -> list[list[str]]:
    """The rows of a split."""
    if split == "all":
        return rows
    if "split" not in leading:
        raise DataError(f"{path}: there is no column `split`, so only the split `all` can be read")
    at = leading.index("split")
    chosen = [row for row in rows if folders.wanted(row[at], split)]
    if not chosen:
        raise EmptySplitError(
            f"{path}: no faces in the split {split!r}; there are {', '.join(sorted({r[at] for r in rows}))}"
        )
    return chosen


def _own_layout(path: Path, columns: list[str]) -> Layout:
    """The layout described by columns `<part>@<position>_x, <part>@<position>_y`."""
    xs, ys = columns[::2], columns[1::2]
    stems = [column.removesuffix("_x") for column in xs]
    paired = all(x == stem + "_x" and y == stem + "_y" for x, y, stem in zip(xs, ys, stems, strict=False))
    if not columns or len(xs) != len(ys) or not paired:
        raise DataError(f"{path}: name a layout, as in 300w:{path}, or columns such as left_eye@0.5_x,left_eye@0.5_y")
    try:
        return layout_of_query(path.stem, parse_query(",".join(stems)))
    except (QueryError, DataError) as error:
        raise DataError(f"{path}: {error}") from error
