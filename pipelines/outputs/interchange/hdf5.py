"""Base classes of sinks that write HDF5 files, a block of frames at once: what is in memory does not grow with the file."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.errors import MissingExtraError
from vtrack.pipelines.outputs.base import FileSink
from vtrack.pipelines.outputs.tables.dlc import likelihood
from vtrack.types import FrameResult, Query

BLOCK = 512
"""Frames that are written at once, and held in one chunk of a file."""
SOFTWARE = "vtrack"


class Hdf5Sink(FileSink):
    """Base class of sinks that write HDF5 files; subclasses implement `_open`, `_write` and `_write_rest`.

    Args:
        path: File to write.

    Raises:
        MissingExtraError: h5py is not installed.
    """

    what = "an HDF5 file"
    """What it is, for messages."""
    _h5: Any
    """The file, as h5py opens it."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._h5py = load_library("h5py", self.what)

    def _create(self, image: bytes = b"") -> Any:
        """Create the file, with what HDF5 file `image` holds, and return it as h5py opens it."""
        part = self.file.create()
        part.write_bytes(image)
        self._disk = _Disk(part, "r+")
        self._h5 = self._h5py.File(self._disk, "r+" if image else "w", track_order=True)
        return self._h5

    def _finish(self, interrupted: bool) -> None:
        self._write_rest()
        self._close()
        self._disk.check()

    def _close(self) -> None:
        self._h5.close()
        self._disk.close()

    def _write_rest(self) -> None:
        """Write what is held back, and what is known at the end."""
        raise NotImplementedError


@dataclass
class PoseBlock:
    """Frames that follow each other."""

    frames: list[int] = field(default_factory=list)
    """Numbers of the frames."""
    times: list[float] = field(default_factory=list)
    """Seconds."""
    faces: dict[int, npt.NDArray[np.float32]] = field(default_factory=dict)
    """(`BLOCK`, points, 3) x, y and likelihood of each face, by its id; NaN where it is not there."""


class PoseSink(Hdf5Sink):
    """Base class of sinks that write the points of each face over time; subclasses implement `_open` and `_write_block`.

    Args:
        path: File to write.
        query: The points of the faces.

    Raises:
        MissingExtraError: h5py is not installed.
    """

    def __init__(self, path: str | Path, query: Query) -> None:
        super().__init__(path)
        self._query, self._block, self._count = query, PoseBlock(), 0

    def _write(self, result: FrameResult) -> None:
        block, place = self._block, len(self._block.frames)
        block.frames.append(result.index)
        block.times.append(result.time)
        for face in result.faces:
            if face.id not in block.faces:
                block.faces[face.id] = np.full((BLOCK, len(self._query), 3), np.nan, np.float32)
            block.faces[face.id][place] = np.column_stack([face.points, likelihood(face)])
        if len(block.frames) == BLOCK:
            self._write_rest()
            self._disk.check()

    def _write_rest(self) -> None:
        if self._block.frames:
            self._write_block(self._block, slice(self._count, self._count + len(self._block.frames)))
            self._count += len(self._block.frames)
            self._block = PoseBlock()

    def _write_block(self, block: PoseBlock, place: slice) -> None:
        """Write a block of frames; `place` says where in the file."""
        raise NotImplementedError


class _Disk(io.FileIO):
    """A file that keeps its first error to itself until it is asked, and what is written from there in memory.

    HDF5 crashes where a disk is full, or where it does not find what it wrote.
    """

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, memoryview]] = []
        """Place and bytes of what was written after the error."""

    def write(self, data: Any) -> int:
        """Write all of the data."""
        place, rest = self.tell(), memoryview(data).cast("B")
        try:
            while rest and self._error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self._error = error
        if self._error is not None:
            self._unwritten.append((place, memoryview(bytes(data))))
            self.seek(place + len(data))
        return len(data)

    def readinto(self, buffer: Any) -> int:
        """Read what was written, on the disk or in memory."""
        place, view = self.tell(), memoryview(buffer).cast("B")
        count = super().readinto(buffer) or 0
        for start, data in self._unwritten:
            low, high = max(start, place), min(start + len(data), place + len(view))
            if low < high:
                view[low - place : high - place] = data[low - start : high - start]
                count = max(count, high - place)
        self.seek(place + count)
        return count

    def truncate(self, size: int | None = None) -> int:
        """Set the length, unless there was an error."""
        try:
            return super().truncate(size) if self._error is None else size or 0
        except OSError as error:
            self._error = error
            return size or 0

    def check(self) -> None:
        """Raise the first error."""
        if self._error is not None:
            raise self._error


def load_library(name: str, what: str) -> ModuleType:
    """Import a library that only one kind of file needs; `what` names the file in the message if it is missing."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(f'{what} needs {name.partition(".")[0]}; pip install "vtrack[interchange]"') from error
