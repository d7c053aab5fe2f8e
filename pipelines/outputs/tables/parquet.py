"""The wide table as Parquet: one row for each face of each frame, nulls where there is no face.

Names and order of the columns are those of the wide CSV table. `time_s` is a double, other numbers are floats, `inside`
and `cut` are booleans.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vtrack.errors import MissingExtraError
from vtrack.pipelines.outputs.base import FileSink
from vtrack.pipelines.outputs.tables.columns import BLOCK_CELLS, FILE, HEAD, Columns, RawTable, block_rows
from vtrack.types import FrameResult, Query

_FILE_PLACE = len(HEAD)
"""Position of the column of file names."""


class ParquetTable(FileSink):
    """The wide table as Parquet, written in row groups.

    Args:
        path: File to write.
        query: The points of the faces.
        columns: Names of extra column groups.
        files: Whether frames are image files, and rows name them.

    Raises:
        UsageError: A column group is unknown.
        MissingExtraError: pyarrow is not installed.
    """

    _stream: BinaryIO
    _writer: Any

    def __init__(self, path: str | Path, query: Query, columns: Collection[str] = (), *, files: bool = False) -> None:
        super().__init__(path)
        self._arrow = pyarrow = _load_arrow()
        self._columns = Columns(query, columns)
        kinds = {"int": pyarrow.int64(), "float": pyarrow.float32(), "bool": pyarrow.bool_()}
        fields = [(field.name, kinds[field.kind]) for field in self._columns.fields]
        self._schema = pyarrow.schema([("frame", pyarrow.int64()), ("time_s", pyarrow.float64()), *fields])
        # The written schema has the names of files beside the numbers.
        self._file = pyarrow.field(FILE.name, pyarrow.string()) if files else None
        self._names: list[str] = []
        # (rows, columns) of the next row group; NaN for an empty cell.
        self._cells = np.full((max(BLOCK_CELLS // len(self._schema), 1), len(self._schema)), np.nan)
        self._rows = 0

    @property
    def _written_schema(self) -> Any:
        return self._schema if self._file is None else self._schema.insert(_FILE_PLACE, self._file)

    def _open(self) -> None:
        # A Python file: its error messages are shorter than Arrow's.
        self._stream = self.file.create().open("wb")
        self._writer = self._arrow.parquet.ParquetWriter(self._stream, self._written_schema, compression="zstd")

    def _write(self, result: FrameResult) -> None:
        for values in self._columns.rows(result):
            row = self._cells[self._rows]
            row[0], row[1], row[2:] = result.index, result.time, values
            if self._file is not None:
                self._names.append(result.frame.file)
            self._rows += 1
            if self._rows == len(self._cells):
                self._write_row_group()

    def _finish(self, interrupted: bool) -> None:
        self._write_row_group()
        self._writer.close()
        self._stream.flush()

    def _close(self) -> None:
        with self._stream:
            self._writer.close()

    def _write_row_group(self) -> None:
        """Write the rows so far as one row group."""
        if self._rows:
            cells = self._cells[: self._rows].T
            absent = np.isnan(cells)
            arrays = [
                self._arrow.array(np.where(mask, 0, values), mask=mask).cast(kind)
                for values, mask, kind in zip(cells, absent, self._schema.types, strict=True)
            ]
            if self._file is not None:
                arrays.insert(_FILE_PLACE, self._arrow.array(self._names, self._file.type))
                self._names.clear()
            self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._written_schema))
            self._rows = 0


def read_blocks(path: Path) -> Iterator[RawTable]:
    """Read a table block by block; at least one."""
    pyarrow = _load_arrow()
    with path.open("rb") as stream, pyarrow.parquet.ParquetFile(stream) as file:
        schema = file.schema_arrow
        rows = block_rows(len(schema))
        yield _block(pyarrow, schema.empty_table())
        for batch in file.iter_batches(batch_size=rows):
            yield _block(pyarrow, pyarrow.Table.from_batches([batch]))


def _block(pyarrow: Any, table: Any) -> RawTable:
    """Convert rows to numbers, and names of files."""
    files: tuple[str, ...] = ()
    if FILE.name in table.column_names:
        files = tuple(table.column(FILE.name).to_pylist())
        table = table.drop_columns([FILE.name])
    columns = [column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False) for column in table.columns]
    return RawTable(table.column_names, np.column_stack([*columns, np.zeros((table.num_rows, 0))]), files)


def stack_tables(path: Path, column: str, tables: Mapping[str, Path]) -> None:
    """Write tables below each other; see `csv.stack_tables`."""
    pyarrow = _load_arrow()
    schemas = [pyarrow.parquet.read_schema(table) for table in tables.values()]
    schema = max(schemas, key=len).insert(0, pyarrow.field(column, pyarrow.string())) if schemas else pyarrow.schema([])
    writer = None
    try:
        for name, table in tables.items():
            with pyarrow.parquet.ParquetFile(table) as file:
                writer = writer or pyarrow.parquet.ParquetWriter(path, schema, compression="zstd")
                for group in range(file.num_row_groups):
                    rows = file.read_row_group(group)
                    if FILE.name in schema.names and FILE.name not in rows.column_names:
                        rows = rows.add_column(_FILE_PLACE, FILE.name, pyarrow.nulls(len(rows), pyarrow.string()))
                    names = pyarrow.repeat(pyarrow.scalar(name), len(rows))
                    writer.write_table(rows.add_column(0, column, names).cast(schema))
    finally:
        if writer is not None:
            writer.close()


def _load_arrow() -> Any:
    """Import pyarrow, with `pyarrow.parquet`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError('Parquet tables need pyarrow; pip install "vtrack[parquet]"') from error
    return pyarrow
