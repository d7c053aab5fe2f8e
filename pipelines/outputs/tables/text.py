"""What tables of text are made of: a sink that writes text, and rows as one `%` of a format prepared for the whole row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import TextIO

from vtrack.pipelines.outputs.base import FileSink
from vtrack.pipelines.outputs.tables.columns import Field
from vtrack.types import FrameResult


class TextSink(FileSink):
    """A sink that fills a text file: a head, then some text for each result."""

    _stream: TextIO | None = None

    def _open(self) -> None:
        self._stream = self.file.part.open("w", encoding="utf-8", newline="")
        self._stream.write(self._head())

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

    def _head(self) -> str:
        """What stands before the first row."""
        raise NotImplementedError

    def _rows(self, result: FrameResult) -> str:
        """The rows of one frame, at least one."""
        raise NotImplementedError


def row_format(fields: Iterable[Field], empty: int = 0, separator: str = ",") -> str:
    """The `%` format of one row: the fields' values, then `empty` cells without one."""
    return separator.join([*(field.text for field in fields), *[""] * empty]) + "\n"


def csv_line(cells: Iterable[str]) -> str:
    """One line of CSV, quoted where a cell needs it."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def without_nan(text: str) -> str:
    """Rows with empty cells where a number is none."""
    return re.sub(r"(?<=,)nan(?=[,\n])", "", text) if "nan" in text else text
