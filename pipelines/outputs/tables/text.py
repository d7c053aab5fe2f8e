"""Base class and helpers of text tables; a row is one `%` operation with a format prepared for the whole row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from vtrack.pipelines.outputs.base import FileSink
from vtrack.pipelines.outputs.stdout import STDOUT, StdoutFile
from vtrack.pipelines.outputs.tables.columns import Field
from vtrack.types import FloatArray, FrameResult

LARGEST = 2.0**53
"""Frames, seconds and pixels beyond it cannot be told from their neighbours."""
_LONGEST_ROWS = 1 << 22
"""Bytes at the end of a table in which a row surely ends."""


class TextSink(FileSink):
    """Base class of sinks that write text: a header, then rows for each frame.

    Args:
        path: File to write; `STDOUT` for stdout.
    """

    _stream: TextIO | None = None

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        if self.file.path == STDOUT:
            self.file = StdoutFile()

    def _open(self) -> None:
        self._stream = self.file.open_text()
        self._stream.write(self._header())

    def _write(self, result: FrameResult) -> None:
        if self._stream is None:
            raise ValueError(f"{self.file.path} is not open; use the sink in a `with` statement")
        self._stream.write(self._rows(result))

    def _finish(self, interrupted: bool) -> None:
        if self._stream is not None:
            self._stream.flush()

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def _repair(self) -> bool:
        with self.file.part.open("r+b") as file:
            end = file.seek(max(file.seek(0, io.SEEK_END) - _LONGEST_ROWS, 0))
            end += file.read().rfind(b"\n") + 1
            file.truncate(end)
        return end > len(self._header().encode())

    def _header(self) -> str:
        """Return the text before the first row."""
        raise NotImplementedError

    def _rows(self, result: FrameResult) -> str:
        """Return the rows of one frame, at least one."""
        raise NotImplementedError


def row_format(fields: Iterable[Field], empty: int = 0, separator: str = ",") -> str:
    """Return the `%` format of one row: the fields' values, then `empty` empty cells."""
    return separator.join([*(field.text for field in fields), *[""] * empty]) + "\n"


def numbers(rows: Sequence[Sequence[str]]) -> FloatArray:
    """Return the cells of rows as numbers (rows, columns), NaN for empty ones.

    Raises:
        ValueError: A cell is no number, or one that no table holds.
    """
    filled = [[cell or "nan" for cell in row] if "" in row else row for row in rows]
    read = np.array(filled, np.float64).reshape(len(rows), len(rows[0]) if rows else 0)
    check_numbers(read)
    return read


def plain_numbers(lines: Sequence[str], columns: int) -> FloatArray | None:
    """Return the cells of lines (lines, columns) as `numbers` does, in a quarter of the time of `csv.reader` and `numbers`.

    Returns:
        The numbers; None if a line holds anything else, or another number of cells.

    Raises:
        ValueError: A cell is a number that no table holds.
    """
    if any(line.count(",") != columns - 1 for line in lines):
        return None
    try:
        read: FloatArray = np.loadtxt([_filled(line) for line in lines], delimiter=",", comments=None, ndmin=2)
    except ValueError:
        return None
    check_numbers(read)
    return read


def _filled(line: str) -> str:
    """A line with NaN in its empty cells."""
    # A replacement leaves every second of several empty cells in a row.
    filled = line.rstrip("\r\n").replace(",,", ",nan,").replace(",,", ",nan,")
    return f"{filled}nan" if filled.endswith(",") else filled


def check_numbers(cells: FloatArray) -> None:
    """Raise `ValueError` for numbers that are infinite or cannot be told from their neighbours."""
    if (np.abs(cells) >= LARGEST).any():
        raise ValueError("it holds a number that is not finite or too large")


def csv_line(cells: Iterable[str]) -> str:
    """Return one line of CSV; cells are quoted where needed."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def without_nan(text: str) -> str:
    """Replace NaN in rows by empty cells."""
    return re.sub(r"(?<=,)nan(?=[,\n])", "", text) if "nan" in text else text
