"""Zips of `images/` and `labels.csv`: `file,split,group,x1,y1,x2,y2,...`, the top-left pixel's centre at (0, 0)."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import numpy as np

from vtrack.data.dataset import Dataset
from vtrack.errors import DataError
from vtrack.layouts import Layout

_LABELS = "labels.csv"


def read_zip(name: str, layout: Layout, path: Path, split: str) -> Dataset:
    """The faces of one split of a zip. The pictures' bytes are kept in memory: threads and processes may share them."""
    try:
        with zipfile.ZipFile(path) as archive:
            if _LABELS not in archive.namelist():
                raise DataError(f"{path}: there is no {_LABELS} in it")
            rows = list(csv.reader(io.TextIOWrapper(archive.open(_LABELS), "utf-8")))
            header, rows = rows[0] if rows else [], rows[1:]
            _check_header(path, header, layout)
            splits = sorted({row[1] for row in rows if len(row) > 1})
            rows = [row for row in rows if split in ("all", *row[1:2])]
            if not rows:
                raise DataError(f"{path}: no faces in the split {split!r}; there are {', '.join(splits) or 'none'}")
            points = _points(path, rows, len(header))
            missing = {row[0] for row in rows} - set(archive.namelist())
            if missing:
                raise DataError(f"{path}: {min(missing)} is in {_LABELS}, but not in the zip")
            content = {row[0]: archive.read(row[0]) for row in rows}
    except (zipfile.BadZipFile, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable zip of annotated pictures: {error}") from error
    return Dataset(
        name, layout, tuple(row[0] for row in rows), points, tuple(row[2] for row in rows), content.__getitem__
    )


def _check_header(path: Path, header: list[str], layout: Layout) -> None:
    if header[:3] != ["file", "split", "group"]:
        raise DataError(f"{path}: {_LABELS} must start with the columns file,split,group")
    count = (len(header) - 3) // 2
    if count != len(layout):
        raise DataError(f"{path}: {count} points a face, but the layout {layout.name} has {len(layout)}")


def _points(path: Path, rows: list[list[str]], width: int) -> np.ndarray:
    """(faces, points, 2) float32 from the rows, which must be whole and numeric."""
    for row in rows:
        if len(row) != width:
            raise DataError(f"{path}: the row of {row[0] if row else 'nothing'} has {len(row)} cells, not {width}")
    try:
        values = np.array([row[3:] for row in rows], np.float32)
    except ValueError as error:
        raise DataError(f"{path}: a coordinate in {_LABELS} is not a number: {error}") from error
    return values.reshape(len(rows), -1, 2)
