"""netCDF files that xarray opens, in the form of the package `movement`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.pipelines.outputs.interchange.hdf5 import BLOCK, SOFTWARE, PoseBlock, PoseSink
from vtrack.types import Query

_POSITION = ("time", "space", "keypoints", "individuals")
_CONFIDENCE = ("time", "keypoints", "individuals")


class MovementDataset(PoseSink):
    """A dataset of poses of `movement`: `position` (time, space, keypoints, individuals), and `confidence` without space.

    An individual is a face, `face_<id>`; where it is not there, its points are NaN, which take no place in the file.
    `confidence` is the likelihood of `DeepLabCutTable`. netCDF-4 is HDF5 whose dimensions are datasets of their own.

    Args:
        path: File to write.
        query: The points of the faces.
        facts: Facts about the table, as its `.meta.json` has them.

    Raises:
        MissingExtraError: h5py is not installed.
    """

    what = "a netCDF file"

    def __init__(self, path: str | Path, query: Query, *, facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(path, query)
        self._facts, self._ids = facts or {}, list[int]()
        self._first = self._last = 0.0

    def _open(self) -> None:
        file = self._create()
        points, text = len(self._query), self._h5py.string_dtype()
        file.create_dataset("time", (0,), "f8", maxshape=(None,), chunks=(BLOCK,))
        file.create_dataset("space", data=["x", "y"], dtype=text)
        file.create_dataset("keypoints", data=self._query.names, dtype=text)
        file.create_dataset("individuals", (0,), text, maxshape=(None,), chunks=(BLOCK,))
        for name in _POSITION:
            file[name].make_scale(name)
        packed = {"compression": "gzip", "shuffle": True, "fillvalue": np.nan, "dtype": "f4"}
        file.create_dataset(
            "position", (0, 2, points, 0), maxshape=(None, 2, points, None), chunks=(BLOCK, 2, points, 1), **packed
        )
        file.create_dataset(
            "confidence", (0, points, 0), maxshape=(None, points, None), chunks=(BLOCK, points, 1), **packed
        )
        file.create_dataset("frame", (0,), "i8", maxshape=(None,), chunks=(BLOCK,))
        for name, dimensions in (("position", _POSITION), ("confidence", _CONFIDENCE), ("frame", _POSITION[:1])):
            for axis, dimension in enumerate(dimensions):
                file[name].dims[axis].attach_scale(file[dimension])
        for name in ("position", "confidence"):
            file[name].attrs.update({"_FillValue": np.float32(np.nan), "coordinates": "frame"})
        file["position"].attrs["units"] = "pixels"

    def _write_block(self, block: PoseBlock, place: slice) -> None:
        self._ids += [face for face in block.faces if face not in self._ids]
        file, rows, individuals = self._h5, len(block.frames), len(self._ids)
        for name in ("time", "frame", "position", "confidence"):
            file[name].resize(place.stop, axis=0)
        for name in ("individuals", "position", "confidence"):
            file[name].resize(individuals, axis=file[name].ndim - 1)
        file["time"][place], file["frame"][place] = block.times, block.frames
        for face, values in block.faces.items():
            individual = self._ids.index(face)
            file["position"][place, :, :, individual] = values[:rows, :, :2].swapaxes(1, 2)
            file["confidence"][place, :, individual] = values[:rows, :, 2]
        self._first, self._last = self._first if place.start else block.times[0], block.times[-1]

    def _finish(self, interrupted: bool) -> None:
        self._write_rest()
        self._h5["individuals"][:] = [f"face_{face}" for face in self._ids]
        facts = {"source_software": SOFTWARE, "ds_type": "poses", "time_unit": "seconds"}
        rate = {"fps": round((self._count - 1) / (self._last - self._first), 3)} if self._last > self._first else {}
        own = {"facts": json.dumps(self._facts)} if self._facts else {}
        self._h5.attrs.update({**facts, **rate, **own})
        super()._finish(interrupted)
