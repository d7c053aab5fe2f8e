"""Dumps of the face mesh as CSV: a row for each face with columns as `x_0,y_0,z_0`, or a row for each vertex."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np

from vtrack.errors import TableError
from vtrack.pipelines.outputs.tables.columns import RawTable
from vtrack.pipelines.outputs.tables.mesh.cells import COUNTS, MeshFrame, mesh_blocks

FRAME = ("frame", "frame_number", "frame_index", "frame_idx", "frame_id", "frame_num", "frame_no")
"""Names of the column with the number of the frame."""
SECONDS = {
    "time_s": 1.0,
    "timestamp_s": 1.0,
    "seconds": 1.0,
    "time_ms": 1e-3,
    "timestamp_ms": 1e-3,
    "timestampms": 1e-3,
}
"""Names of times, and their unit in seconds; those that do not tell their unit are not read."""
_FACE = ("face", "face_id", "face_index", "face_idx", "person", "person_id")
_VERTEX = ("landmark_index", "landmark_id", "landmark_idx", "landmark", "vertex", "point", "index", "idx", "id")
_COLUMN = re.compile(r"(?:face|mesh|landmark|lm|point|vertex|v|p)?_?(?:(\d+)_?([xy])|([xy])_?(\d+))")


def is_mesh(header: Sequence[str]) -> bool:
    """Whether a CSV file with this header is a dump of the face mesh."""
    names = [name.strip().lower() for name in header]
    return len(_wide_places(names)) in COUNTS or _is_long(names)


def read_mesh(path: Path, header: Sequence[str], rows: Iterator[list[str]]) -> Iterator[RawTable]:
    """Yield the rows of a dump as those of a wide table.

    Args:
        path: The file, for messages.
        header: The names of its columns.
        rows: Its rows, each as long as the header.

    Raises:
        TableError: It is damaged.
    """
    names = [name.strip().lower() for name in header]
    frames = _long(path, names, rows) if _is_long(names) else _wide(names, rows)
    grouped = itertools.groupby(frames, key=itemgetter(0))
    yield from mesh_blocks(_joined([frame for _, frame in group]) for _, group in grouped)


def _joined(frames: list[MeshFrame]) -> MeshFrame:
    """The faces of one frame, each read by itself, in one."""
    faces = [face for each in frames for face in each.faces]
    ids = [number for each in frames for number in each.ids]
    return MeshFrame(frames[0].frame, faces, frames[0].time, ids)


def _is_long(names: Sequence[str]) -> bool:
    return {"x", "y"} <= {*names} and _place(names, _VERTEX) is not None and _place(names, FRAME) is not None


def _place(names: Sequence[str], wanted: Sequence[str]) -> int | None:
    """The column with one of these names; None if there is none."""
    return next((names.index(name) for name in wanted if name in names), None)


def _wide_places(names: Sequence[str]) -> list[tuple[int, int]]:
    """The columns of x and y of each vertex; empty unless vertices are numbered from 0, or from 1, without a gap."""
    found: dict[tuple[int, str], int] = {}
    for place, name in enumerate(names):
        if match := _COLUMN.fullmatch(name):
            found[int(match[1] or match[4]), match[2] or match[3]] = place
    numbers = sorted({number for number, _ in found})
    if not numbers or numbers != [*range(numbers[0], numbers[0] + len(numbers))] or numbers[0] > 1:
        return []
    if any((number, axis) not in found for number in numbers for axis in "xy"):
        return []
    return [(found[number, "x"], found[number, "y"]) for number in numbers]


def _time(names: Sequence[str]) -> tuple[int, float] | None:
    """The column of times and its unit in seconds."""
    return next(((names.index(name), unit) for name, unit in SECONDS.items() if name in names), None)


def _wide(names: Sequence[str], rows: Iterator[list[str]]) -> Iterator[tuple[float, MeshFrame]]:
    """Yield the face of each row, after the number of its frame."""
    places = _wide_places(names)
    pick = itemgetter(*(place for pair in places for place in pair))
    frame, face, time = _place(names, FRAME), _place(names, _FACE), _time(names)
    for count, row in enumerate(rows):
        number = float(count if frame is None else row[frame])
        vertices = np.array([cell or "nan" for cell in pick(row)], np.float64).reshape(-1, 2)
        known = bool(np.isfinite(vertices).any() and vertices.any())
        ids = [int(float(row[face]))] if face is not None and known else [0] * known
        seconds = None if time is None else float(row[time[0]]) * time[1]
        yield number, MeshFrame(number, [vertices] * known, seconds, ids)


def _long(path: Path, names: Sequence[str], rows: Iterator[list[str]]) -> Iterator[tuple[float, MeshFrame]]:
    """Yield the face of each run of rows of one face and frame, after the number of the frame."""
    places = [_place(names, each) for each in (FRAME, _FACE, _VERTEX)]
    frame, face, vertex = (place if place is not None else -1 for place in places)
    x, y, time = names.index("x"), names.index("y"), _time(names)
    kind = names.index("type") if "type" in names else None
    own = rows if kind is None else (row for row in rows if row[kind].strip().lower().startswith("face"))
    for (number, identity), lines in itertools.groupby(
        own, key=lambda row: (row[frame], row[face] if face >= 0 else "0")
    ):
        block = list(lines)
        if len(block) not in COUNTS:
            raise TableError(
                f"{path}: frame {number} has {len(block)} rows; a dump of the face mesh has {' or '.join(map(str, COUNTS))}, "
                "one for each vertex of a face"
            )
        vertices = np.full((len(block), 2), np.nan)
        first = min(int(float(row[vertex])) for row in block)
        for row in block:
            vertices[int(float(row[vertex])) - first] = float(row[x] or "nan"), float(row[y] or "nan")
        seconds = None if time is None else float(block[0][time[0]]) * time[1]
        known = bool(np.isfinite(vertices).any())
        yield float(number), MeshFrame(float(number), [vertices] * known, seconds, [int(float(identity))] * known)
