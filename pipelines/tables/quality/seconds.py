"""The table of faces and seconds that `vtrack check --csv` writes, and its rows for the frames of a report."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from math import floor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from vtrack.errors import TableError, UsageError, spelled
from vtrack.pipelines.tables.quality.error_model import ErrorEstimate
from vtrack.pipelines.tables.quality.signals import SIGNALS, FaceSecond
from vtrack.types import FloatArray

COLUMNS = ("start_s", "face", "frames", "error", "low", "high", *SIGNALS)
_ERROR = COLUMNS.index("error")


def second_line(rows: FaceSecond, estimate: ErrorEstimate, signals: FloatArray) -> str:
    """The row of a face and second."""
    cells = ("" if np.isnan(value) else f"{value:.4g}" for value in (*estimate, *signals.tolist()))
    return f"{rows.start},{rows.face},{len(rows.time)},{','.join(cells)}\n"


def is_check(path: Path) -> bool:
    """Whether a file is a table of faces and seconds."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().rstrip("\n") == ",".join(COLUMNS)
    except (OSError, ValueError):
        return False


class _Row(NamedTuple):
    """What is kept of a row."""

    start: int
    face: int
    values: FloatArray
    """(1 + signals,) the estimated error and the signals."""


class CheckedSeconds:
    """The estimated errors and signals of faces, read while frames are asked for in order.

    Args:
        path: What `vtrack check --csv` has written for the same table.

    Raises:
        UsageError: It is another file.
        TableError: It cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.found = Path(path), False
        """`found`: whether a face was asked for that the table has."""
        self._rows = _read(self.path)
        self._next = next(self._rows, None)
        self._near: dict[tuple[int, int], FloatArray] = {}

    def of(self, time: FloatArray, face: npt.NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """The values of the next rows of a table.

        Args:
            time: (rows,) their times.
            face: (rows,) their faces.

        Returns:
            (rows,) estimated errors and (rows, signals) the signals, NaN where the file has none.
        """
        seconds = np.floor(time).astype(np.int64).tolist()
        self._near = {key: values for key, values in self._near.items() if key[0] >= min(seconds, default=0)}
        while self._next is not None and self._next.start <= max(seconds, default=-1):
            self._near[self._next.start, self._next.face] = self._next.values
            self._next = next(self._rows, None)
        nothing = np.full(1 + len(SIGNALS), np.nan)
        values = [self._near.get(key, nothing) for key in zip(seconds, face.tolist(), strict=True)]
        self.found |= any(each is not nothing for each in values)
        table = np.array(values).reshape(len(values), len(nothing))
        return table[:, 0], table[:, 1:]

    def check_found(self, table: Path) -> None:
        """Raise `UsageError` if the file had no face of a table."""
        if not self.found:
            raise UsageError(f"{self.path} is not of {table}: no face and second of it is there; check this table")


def _read(path: Path) -> Iterator[_Row]:
    """Yield the rows of a file, in order; the first call checks its header."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, [])) != COLUMNS:
                raise UsageError(f"{path} is not what vtrack check {spelled('csv', 'FILE')} writes; check the table so")
            for row in rows:
                values = np.array([float(cell) if cell else np.nan for cell in row[_ERROR:]])
                yield _Row(floor(float(row[0])), int(row[1]), values[[0, *range(3, len(values))]])
    except OSError as error:
        raise TableError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, IndexError, csv.Error) as error:
        raise TableError(f"{path}: damaged table: {error}") from error
