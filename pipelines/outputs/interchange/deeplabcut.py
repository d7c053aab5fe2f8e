"""DeepLabCut's HDF5 file: a pandas DataFrame with the columns scorer, individuals, bodyparts, coords."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.interchange.hdf5 import Hdf5Sink, load_library
from vtrack.pipelines.outputs.tables.columns import block_rows
from vtrack.pipelines.outputs.tables.dlc import DeepLabCutCells
from vtrack.types import FloatArray, FrameResult, Query

_KEY = "df_with_missing"


class DeepLabCutFile(Hdf5Sink):
    """DeepLabCut's HDF5 file, with the cells of `DeepLabCutTable`; its index is the number of the frame.

    pandas and PyTables make a file of one row; its rows are replaced by those of the table. PyTables itself does not tell
    when a disk is full, and needs a file without a lock.

    Args:
        path: File to write.
        query: The points of the faces.
        max_faces: Number of individuals; further faces of a frame are left out.

    Raises:
        UsageError: `max_faces` is below 1.
        MissingExtraError: pandas, PyTables or h5py are not installed.
    """

    what = "DeepLabCut's h5"

    def __init__(self, path: str | Path, query: Query, *, max_faces: int = 1) -> None:
        super().__init__(path)
        self._pandas, self._tables = (load_library(name, self.what) for name in ("pandas", "tables"))
        self._cells = DeepLabCutCells(query, max_faces)
        self._frames: list[int] = []
        self._rows: list[FloatArray] = []
        self._most = block_rows(3 * len(query) * max_faces)

    def _open(self) -> None:
        self._table = self._create(self._image())[f"{_KEY}/table"]
        self._table.resize(0, axis=0)

    def _write(self, result: FrameResult) -> None:
        self._frames.append(result.index)
        self._rows.append(self._cells.row(result, self.file.path))
        if len(self._rows) == self._most:
            self._write_rest()
            self._disk.check()

    def _write_rest(self) -> None:
        if self._rows:
            rows = np.zeros(len(self._rows), self._table.dtype)
            rows["index"], rows["values_block_0"] = self._frames, self._rows
            self._table.resize(len(self._table) + len(rows), axis=0)
            self._table[-len(rows) :] = rows
            self._frames, self._rows = [], []

    def _image(self) -> bytes:
        """The bytes of a file with these columns and one row."""
        header = self._cells.header
        columns = self._pandas.MultiIndex.from_arrays([*header.values()], names=[*header])
        frame = self._pandas.DataFrame(np.zeros((1, len(columns))), self._pandas.Index([0], dtype="int64"), columns)
        memory = {"driver": "H5FD_CORE", "driver_core_backing_store": 0}
        with self._pandas.HDFStore(self.file.part.name, "w", complib="zlib", complevel=4, **memory) as store:
            try:
                store.append(_KEY, frame, index=False, expectedrows=self._most)
            except self._tables.HDF5ExtError as error:
                raise UsageError(
                    f"{self.file.path}: {len(columns)} columns are too many for {self.what}, whose header has 64 KiB; give "
                    f"fewer faces by {spelled('max_faces', 1)}, or a table with fewer points"
                ) from error
            store.flush()
            return bytes(store.root._v_file.get_file_image())
