"""Columns of tables. They depend on the query and the selected column groups only, never on the video.

Wide tables begin with `frame,time_s`, and `file` where frames are image files, followed by the columns of the face, those
of each point, and the extra groups. A group is a few columns for each point or for each face; `EXTRAS` holds those that
`--columns` can add.

The columns of `raw` hold all that smoothing starts from, so that a table can be smoothed anew: beside the points of the user
those that the pipeline adds to them (`ADDED`), and whether a frame begins a scene.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from vtrack.anchors import ANCHORS
from vtrack.errors import UsageError
from vtrack.measures import EXPRESSION_NAMES, POSE_NAMES
from vtrack.pipelines.measures.points import FURTHER_QUERY, MEASURE_QUERY, MEASURES, added_queries
from vtrack.pipelines.registry import MEASURED_GROUPS
from vtrack.types import Face, FloatArray, Frame, FrameResult, Query

PIXEL_DIGITS = 3
TIME_DIGITS = 6
SHARE_DIGITS = 4
QUATERNION_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or the suffix that makes a column of a point's name."""

    name: str
    kind: Literal["int", "float", "bool", "text"] = "float"
    digits: int = PIXEL_DIGITS
    """Decimals in text tables."""

    @property
    def text(self) -> str:
        """The `%` format of a value."""
        return f"%.{self.digits}f" if self.kind == "float" else "%s" if self.kind == "text" else "%d"


class RawTable(NamedTuple):
    """Rows of a table as they are read back from a file, one block after the other."""

    columns: list[str]
    """Names of the columns of the wide table, but for that of file names; without `time_s` in files that hold no times."""
    cells: FloatArray
    """(rows, columns) NaN where a cell is empty."""
    file: tuple[str, ...] = ()
    """(rows,) names of files, if there are any."""
    query: Query | None = None
    """What the points are, if the file itself tells."""
    normalised: bool = False
    """Whether coordinates are shares of the width and height of the frame, 0 at the edge of the first pixel."""


BLOCK_CELLS = 2**19
"""Number of cells that are read at once: 4 MiB in memory, whatever the number of columns or rows."""


def block_rows(columns: int) -> int:
    """Return how many rows of a table with so many columns are read at once."""
    return max(BLOCK_CELLS // max(columns, 1), 1)


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Columns that are selected together."""

    fields: Callable[[Query], tuple[Field, ...]]
    """For a group of points: the suffixes of each point's columns. For a group of the face: its columns."""
    values: Callable[[Face, Frame], FloatArray]
    """(points, fields) for a group of points, (fields,) for a group of the face; NaN for an empty cell."""
    of_points: bool
    """Whether the group has columns for each point."""
    added: Query | None = None
    """The points whose columns these are, if they are none of the user's; in long tables they have rows of their own."""


def _inside(face: Face, frame: Frame) -> FloatArray:
    """(points, 1) 1 where a point lies inside the frame, whose edges are half a pixel beyond the outer pixels' centres."""
    points = face.points
    reach = np.array(frame.size) - 0.5
    return ((points >= -0.5) & (points < reach)).astype(np.float64).min(1, keepdims=True)


def _hidden(face: Face, frame: Frame) -> FloatArray:
    """(points, 1) probability that a point is hidden; NaN where nothing tells."""
    return np.full((len(face.query), 1), np.nan) if face.hidden is None else face.hidden[:, None]


def _measures(face: Face, frame: Frame) -> FloatArray:
    """(measures,) of the face."""
    if not face.measures:
        raise ValueError("the column group measures needs measured faces: Settings(..., measures=True)")
    return face.measures.array


def _pose(face: Face, frame: Frame) -> FloatArray:
    """(21,) of the head."""
    if face.pose is None:
        raise ValueError("the column group pose needs faces with a pose: Settings(..., pose=True)")
    return face.pose.array


def _points3d(face: Face, frame: Frame) -> FloatArray:
    """(points, 6) of the points in space."""
    if face.points3d is None:
        raise ValueError("the column group points3d needs faces with points in space: Settings(..., points3d=True)")
    return face.points3d.array


def _expressions(face: Face, frame: Frame) -> FloatArray:
    """(78,) of the face."""
    if face.expressions is None:
        raise ValueError("the column group expressions needs faces with them: Settings(..., expressions=True)")
    return face.expressions.array


def _pose_digits(name: str) -> int:
    return QUATERNION_DIGITS if name.startswith("pose_q") else SHARE_DIGITS


def _kind_of(measure: str) -> Literal["int", "float", "bool"]:
    return "bool" if measure == "blink" else "int" if measure == "blinks" else "float"


def _unsmoothed(face: Face, first: int, count: int) -> FloatArray:
    """(count, 3) x, y and sigma before smoothing of some points, from the first; NaN if the face has none."""
    if face.unsmoothed is None or len(face.unsmoothed) < max(first + count, -first):
        return np.full((count, len(RAW)), np.nan)
    return face.unsmoothed[first : first + count or None]


def _raw(face: Face, frame: Frame) -> FloatArray:
    """(points, 3) the points of the user before smoothing."""
    return np.column_stack([face.raw, _unsmoothed(face, 0, len(face.query))[:, 2]])


HEAD = (Field("frame", "int"), Field("time_s", digits=TIME_DIGITS))
FILE = Field("file", "text")
"""Follows `HEAD` where frames are image files."""
CUT = Field("cut", "bool")
"""Whether a new scene begins with the frame; a column of the frame, too, in tables with the columns `raw`."""
HIDDEN = Field("hidden", digits=SHARE_DIGITS)
RAW = (Field("raw_x"), Field("raw_y"), Field("raw_sigma"))
POINTS3D = tuple(Field(f"{axis}3d{end}", digits=SHARE_DIGITS) for end in ("", "_sd") for axis in "xyz")
MEASURED = Field("measured", "bool")
"""Whether the face was seen in the frame; tables of version 0.1.0 lack it."""
BOX = tuple(Field(f"box_{side}") for side in "xywh")
FACE = ColumnGroup(
    fields=lambda query: (Field("face", "int"), Field("presence", digits=SHARE_DIGITS), MEASURED, *BOX),
    values=lambda face, frame: np.concatenate([(face.id, face.presence, face.measured), face.box]),
    of_points=False,
)
POINTS = ColumnGroup(
    fields=lambda query: (Field("x"), Field("y"), Field("sigma")),
    values=lambda face, frame: np.column_stack([face.points, face.sigma]),
    of_points=True,
)
_OF_ANCHORS = ColumnGroup(
    fields=lambda query: tuple(_of_points(ANCHORS, RAW)),
    values=lambda face, frame: _unsmoothed(face, -len(ANCHORS), len(ANCHORS)),
    of_points=False,
    added=ANCHORS,
)
_OF_MEASURES = {
    MEASURE_QUERY: ColumnGroup(
        fields=lambda query: tuple(_of_points(MEASURE_QUERY, RAW)),
        values=lambda face, frame: _unsmoothed(face, len(face.query), len(MEASURE_QUERY)),
        of_points=False,
        added=MEASURE_QUERY,
    ),
    FURTHER_QUERY: ColumnGroup(
        fields=lambda query: tuple(_of_points(FURTHER_QUERY, RAW)),
        values=lambda face, frame: _unsmoothed(face, len(face.query) + len(MEASURE_QUERY), len(FURTHER_QUERY)),
        of_points=False,
        added=FURTHER_QUERY,
    ),
}
"""The raw points that measures, pose and expressions are computed from, in tables with the columns `raw` and one of these."""
ADDED = (ANCHORS, *_OF_MEASURES)
"""The points that the pipeline adds to those of the user, in the order of their columns."""
EXTRAS: dict[str, tuple[ColumnGroup, ...]] = {
    "raw": (ColumnGroup(fields=lambda query: RAW, values=_raw, of_points=True), _OF_ANCHORS),
    "inside": (ColumnGroup(fields=lambda query: (Field("inside", "bool"),), values=_inside, of_points=True),),
    "hidden": (ColumnGroup(fields=lambda query: (HIDDEN,), values=_hidden, of_points=True),),
    "measures": (
        ColumnGroup(
            fields=lambda query: tuple(Field(name, _kind_of(name), SHARE_DIGITS) for name in MEASURES),
            values=_measures,
            of_points=False,
        ),
    ),
    "pose": (
        ColumnGroup(
            fields=lambda query: tuple(Field(name, digits=_pose_digits(name)) for name in POSE_NAMES),
            values=_pose,
            of_points=False,
        ),
    ),
    "points3d": (ColumnGroup(fields=lambda query: POINTS3D, values=_points3d, of_points=True),),
    "expressions": (
        ColumnGroup(
            fields=lambda query: tuple(Field(name, digits=SHARE_DIGITS) for name in EXPRESSION_NAMES),
            values=_expressions,
            of_points=False,
        ),
    ),
}


def choose_groups(columns: Collection[str]) -> list[ColumnGroup]:
    """Return the groups of the face, the points and the named extras, in a fixed order.

    Raises:
        UsageError: A name is unknown.
    """
    unknown = [name for name in columns if name not in EXTRAS]
    if unknown:
        raise UsageError(f"unknown columns {', '.join(unknown)}; choose from {', '.join(EXTRAS)}")
    groups = [FACE, POINTS]
    for name, some in EXTRAS.items():
        if name in columns:
            groups += some
            groups += [_OF_MEASURES[query] for query in measured_points(columns)] if name == "raw" else []
    return groups


def measured_points(columns: Collection[str]) -> tuple[Query, ...]:
    """The points that measures are computed from, which a table with these groups of columns has besides the user's."""
    return added_queries([name for name in MEASURED_GROUPS if name in columns and "raw" in columns])


class Columns:
    """The columns of a wide table.

    Args:
        query: The points of the faces.
        columns: Names of extra column groups.
    """

    def __init__(self, query: Query, columns: Collection[str] = ()) -> None:
        self._groups = choose_groups(columns)
        self.of_frame = frame_fields(columns)
        self.of_face = tuple(field for group in self._groups for field in _spread(group, query))
        self.fields = (*self.of_frame, *self.of_face)
        """All columns but `frame`, `time_s` and `file`."""
        self._empty = [np.nan] * len(self.of_face)

    def values(self, face: Face, frame: Frame) -> list[float]:
        """Return the value of each column of `of_face` for a face."""
        row: list[float] = np.concatenate([group.values(face, frame).ravel() for group in self._groups]).tolist()
        return row

    def rows(self, result: FrameResult) -> list[list[float]]:
        """Return the values of all `fields` for each face of a frame, or the one row of a frame without a face."""
        of_frame = [float(result.frame.cut)] * len(self.of_frame)
        faces = [self.values(face, result.frame) for face in result.faces] or [self._empty]
        return [[*of_frame, *values] for values in faces]


def frame_fields(columns: Collection[str]) -> tuple[Field, ...]:
    """The columns of the frame that come with groups of columns."""
    return (CUT,) if "raw" in columns else ()


def head_fields(files: bool, columns: Collection[str] = ()) -> tuple[Field, ...]:
    """The columns of the frame; `files` if frames are image files, which are named then."""
    return (*HEAD, *[FILE] * files, *frame_fields(columns))


def _spread(group: ColumnGroup, query: Query) -> Iterable[Field]:
    """The columns of a group with their full names."""
    fields = group.fields(query)
    return _of_points(query, fields) if group.of_points else fields


def _of_points(query: Query, fields: Collection[Field]) -> Iterator[Field]:
    """Yield columns of each point."""
    for name in query.names:
        yield from (Field(f"{name}_{field.name}", field.kind, field.digits) for field in fields)
