"""Vertices of mediapipe's face mesh as rows of a wide table."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from vtrack.layouts import load_layout
from vtrack.pipelines.outputs.tables.columns import FACE, HEAD, POINTS, RawTable, block_rows
from vtrack.types import FloatArray, Query

COUNTS = (468, 478)
"""Numbers of vertices of a mesh: without and with the irises."""
_LARGEST_SHARE = 4.0
"""Coordinates beyond which they are pixels; those that are shares of the frame's sides may leave the frame a little."""


@dataclass(frozen=True, eq=False, slots=True)
class MeshFrame:
    """The faces of a frame of a dump."""

    frame: float
    faces: Sequence[FloatArray]
    """Each (vertices, 2 or more), NaN where nothing is known."""
    time: float | None = None
    """Seconds, if the dump tells them."""
    ids: Sequence[int] = field(default=())
    """Number of each face; by default its place in the frame, since mediapipe does not follow faces."""


def mesh_blocks(frames: Iterator[MeshFrame]) -> Iterator[RawTable]:
    """Yield the frames of a dump as blocks of a wide table; at least one.

    Raises:
        ValueError: A face has another number of vertices than the first.
    """
    waiting: list[MeshFrame] = []
    for frame in frames:  # up to the first face, which tells how many vertices there are
        waiting.append(frame)
        if frame.faces:
            break
    count = len(waiting[-1].faces[0]) if waiting and waiting[-1].faces else COUNTS[-1]
    chosen, query = _points(count)
    timed = bool(waiting) and waiting[0].time is not None
    head = HEAD if timed else HEAD[:1]
    points = (f"{name}_{each.name}" for name in query.names for each in POINTS.fields(query))
    columns = [*(each.name for each in (*head, *FACE.fields(query))), *points]
    yield RawTable(columns, np.zeros((0, len(columns))), query=query)
    normalised: bool | None = None
    size = block_rows(len(columns))
    while waiting:
        waiting += itertools.islice(frames, max(size - len(waiting), 0))
        heads: list[tuple[float, ...]] = []
        faces: list[FloatArray] = []
        for each in waiting:
            of_frame = _head(each, timed)
            for number, face in zip(each.ids or range(len(each.faces)), each.faces, strict=True):
                heads.append((*of_frame, number))
                faces.append(_checked(face, count))
            if not each.faces:
                heads.append((*of_frame, np.nan))
                faces.append(np.full((count, 2), np.nan))
        vertices = np.array(faces)
        known = np.abs(vertices[np.isfinite(vertices)])
        if normalised is None and len(known):
            normalised = bool(known.max() < _LARGEST_SHARE)
        cells = _cells(np.array(heads), vertices[:, chosen], len(columns))
        yield RawTable(columns, cells, query=query, normalised=bool(normalised))
        waiting = [*itertools.islice(frames, size)]


def _points(count: int) -> tuple[np.ndarray, Query]:
    """The vertices that are points of the layout `mesh`, and these points; without irises where there are none."""
    # Imported late: no other table needs the code of data sets.
    from vtrack.data.mesh_labels import VERTICES

    query = load_layout("mesh").query
    places = np.flatnonzero(count > VERTICES)
    if len(places) == len(query):
        return VERTICES, query
    points = [(query.parts[i], query.positions[i], query.names[i]) for i in places]
    return VERTICES[places], Query(*zip(*points, strict=True))


def _head(frame: MeshFrame, timed: bool) -> tuple[float, ...]:
    """The cells of a frame before those of its faces."""
    if timed != (frame.time is not None):
        raise ValueError(f"some frames have times and others, as frame {frame.frame:g}, have none")
    return (frame.frame,) if frame.time is None else (frame.frame, frame.time)


def _checked(face: FloatArray, count: int) -> FloatArray:
    """The x and y of a face."""
    if len(face) != count:
        raise ValueError(f"a face with {len(face)} vertices after one with {count}")
    return face[:, :2]


def _cells(heads: FloatArray, points: FloatArray, columns: int) -> FloatArray:
    """(rows, columns) of heads (rows, frame to face) and points (rows, points, 2)."""
    cells = np.full((len(heads), columns), np.nan)
    first = heads.shape[1]  # presence; then measured and the box
    cells[:, :first] = heads
    known = np.isfinite(points).any((1, 2))
    cells[~known, first - 1] = np.nan
    cells[known, first + 1] = 1.0
    low, high = np.nanmin(points[known], 1), np.nanmax(points[known], 1)
    cells[known, first + 2 : first + 6] = np.concatenate([low, high - low], -1)
    cells[:, first + 6 :: 3], cells[:, first + 7 :: 3] = points[..., 0], points[..., 1]
    return cells
