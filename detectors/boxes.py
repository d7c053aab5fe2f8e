"""Boxes from a table: for videos whose faces were detected by another program, or drawn by hand."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vtrack.errors import DataError
from vtrack.types import Detections, Detector, Frame

_REQUIRED = ("frame", "x", "y", "w", "h")
_VTRACK_COLUMNS = {"box_x": "x", "box_y": "y", "box_w": "w", "box_h": "h", "presence": "score"}
"""Columns of vtrack's own tables and what they stand for here, so that the table of one run gives boxes to the next."""

_FARTHEST = 1e6
"""Pixels from a frame's corner that a box may reach; no frame is as large."""


class BoxesDetector(Detector):
    """Boxes from a CSV table with the columns `frame,x,y,w,h` and, optionally, `score`; other columns are ignored.

    `frame` is the frame's index from 0. Boxes are in pixels of the displayed frame, tight around the face's landmarks. A
    row with an empty box is a frame without a face.

    Args:
        path: The table, UTF-8.
        threshold: Score, 0 to 1, from which a box is taken.

    Raises:
        UsageError: No table was given.
        DataError: The table cannot be read, lacks a column or has a bad value.
    """

    name = "boxes"
    min_score = 0.0

    def __init__(self, model_path: Path, threshold: float = 0.0) -> None:
        rows = defaultdict(list)
        for index, values in _read(model_path):
            if values[4] >= threshold:
                rows[index].append(values)
        self._detections: dict[int, Detections] = {}
        for index, faces in rows.items():
            table = np.array(sorted(faces, key=lambda face: -face[4]), np.float32)
            self._detections[index] = Detections(table[:, :4], table[:, 4], np.zeros(len(table), np.float32))

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Give the table's boxes for each frame."""
        return [self._detections.get(frame.index, Detections.none()) for frame in frames]


def _read(path: Path) -> list[tuple[int, tuple[float, ...]]]:
    """(frame, (x, y, w, h, score)) of every row with a box."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [_VTRACK_COLUMNS.get(name, name) for name in reader.fieldnames or ()]
            missing = [name for name in _REQUIRED if name not in columns]
            if missing:
                raise DataError(
                    f"{path}: no column {', '.join(missing)}; required are {', '.join(_REQUIRED)}, and score is optional"
                )
            reader.fieldnames = columns
            return [box for row in reader if (box := _box(path, reader.line_num, row)) is not None]
    except OSError as error:
        raise DataError(f"{path}: the table of boxes cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV table in UTF-8: {error}") from error


def _box(path: Path, line: int, row: dict[str, str]) -> tuple[int, tuple[float, ...]] | None:
    """(frame, (x, y, w, h, score)) of one row; None if its box is empty."""
    cells = [(row[name] or "").strip() for name in _REQUIRED]
    if not any(cells[1:]):
        return None
    try:
        index = int(cells[0])
        values = (*(float(cell) for cell in cells[1:]), float(row.get("score") or 1.0))
    except ValueError as error:
        raise DataError(f"{path}, line {line}: not a number: {error}") from error
    if index < 0 or not all(map(math.isfinite, values)) or values[2] <= 0 or values[3] <= 0:
        raise DataError(f"{path}, line {line}: frames count from 0 and boxes need a width and height above 0")
    if max(map(abs, values[:4])) > _FARTHEST:
        raise DataError(f"{path}, line {line}: a box beyond {_FARTHEST:g} pixels; boxes are in pixels of the frame")
    if not 0.0 <= values[4] <= 1.0:
        raise DataError(f"{path}, line {line}: scores lie in 0..1, got {values[4]:g}")
    return index, values
