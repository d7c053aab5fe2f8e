"""NWB files (Neurodata Without Borders) with the extension ndx-pose."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtrack._version import __version__
from vtrack.errors import UsageError
from vtrack.pipelines.outputs.drawing.curves import part_splines
from vtrack.pipelines.outputs.interchange.hdf5 import BLOCK, SOFTWARE, PoseBlock, PoseSink, load_library
from vtrack.pipelines.sources.images.files import printable
from vtrack.types import Query

_MODULE = "behavior"
_MOST_NODES = 256
"""Edges of a skeleton are pairs of bytes; more points have none."""
_RESERVED = ("/", ":")
"""Characters that stand in no name of NWB."""
_NO_START = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
"""NWB demands when a session began, which no table knows."""


class NwbPoses(PoseSink):
    """An NWB file with a `PoseEstimation` for each face, `face_<id>`, and in it a series for each point.

    All series have the times of all frames; where a face is not there, its points are NaN, which take no place in the file.
    `confidence` is the likelihood of `DeepLabCutTable`. pynwb makes a file without frames, and they are added to it.

    Args:
        path: File to write.
        query: The points of the faces.
        ids: All faces that come.
        facts: Facts about the table, as its `.meta.json` has them.

    Raises:
        UsageError: The name of a point is none in NWB.
        MissingExtraError: pynwb, ndx-pose or h5py are not installed.
    """

    what = "an NWB file"

    def __init__(
        self, path: str | Path, query: Query, *, ids: Sequence[int] = (), facts: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(path, query)
        if wrong := [name for name in query.names if set(name) & set(_RESERVED)]:
            raise UsageError(
                f"{path}: points of {self.what} have no {' or '.join(_RESERVED)} in their names, as {wrong[0]!r} has"
            )
        self._ids, self._facts = ids, facts or {}
        self._pynwb, self._ndx_pose = (load_library(name, self.what) for name in ("pynwb", "ndx_pose"))

    def _open(self) -> None:
        file = self._create(self._image())
        module = f"processing/{_MODULE}"
        self._series = {
            face: [file[f"{module}/face_{face}/{name}"] for name in self._query.names] for face in self._ids
        }

    def _write_block(self, block: PoseBlock, place: slice) -> None:
        rows = len(block.frames)
        if self._ids:
            times = self._series[self._ids[0]][0]["timestamps"]
            times.resize(place.stop, axis=0)
            times[place] = block.times
        for face, series in self._series.items():
            for point, each in enumerate(series):
                each["data"].resize(place.stop, axis=0)
                each["confidence"].resize(place.stop, axis=0)
                if face in block.faces:
                    each["data"][place] = block.faces[face][:rows, point, :2]
                    each["confidence"][place] = block.faces[face][:rows, point, 2]

    def _image(self) -> bytes:
        """The bytes of a file without frames."""
        name = printable(str(self._facts.get("source", {}).get("name", "a video")))
        nwb = self._pynwb.NWBFile(
            session_description=f"face landmarks of {name}; session_start_time is not known",
            identifier=printable(self.file.path.stem),
            session_start_time=_NO_START,
            notes=json.dumps(self._facts),
        )
        module = nwb.create_processing_module(_MODULE, "face landmarks")
        edges = np.unique(part_splines(self._query).neighbours[:, 1:3], axis=0)
        joined = {"edges": edges.astype(np.uint8)} if len(edges) and len(self._query) <= _MOST_NODES else {}
        skeleton = self._ndx_pose.Skeleton(name="face", nodes=[*self._query.names], **joined)
        module.add(self._ndx_pose.Skeletons(skeletons=[skeleton]))
        times = None
        for face in self._ids:
            series = []
            for name in self._query.names:
                series.append(self._ndx_pose.PoseEstimationSeries(
                    name=name,
                    data=self._growing(2),
                    confidence=self._growing(),
                    timestamps=times or self._growing(dtype="f8"),
                    reference_frame="pixels of the displayed frame: x right, y down, (0, 0) the centre of the top-left pixel",
                    confidence_definition="probability that the point lies within 5 % of the face's size of the truth",
                ))  # fmt: skip
                times = times or series[0]
            module.add(self._ndx_pose.PoseEstimation(
                name=f"face_{face}",
                pose_estimation_series=series,
                description=f"points of face {face}",
                source_software=SOFTWARE,
                source_software_version=__version__,
                skeleton=skeleton,
            ))  # fmt: skip
        memory = self._h5py.File(self.file.part.name, "w", driver="core", backing_store=False)
        with memory as file, self._pynwb.NWBHDF5IO(file=file, mode="w") as io:
            io.write(nwb)
            file.flush()
            return bytes(file.id.get_file_image())

    def _growing(self, *shape: int, dtype: str = "f4") -> Any:
        """Data without rows, to which rows are added."""
        return self._pynwb.H5DataIO(
            np.zeros((0, *shape), dtype),
            maxshape=(None, *shape),
            chunks=(BLOCK, *shape),
            compression="gzip",
            fillvalue=np.nan,
        )
