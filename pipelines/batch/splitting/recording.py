"""What was found in a stretch of a video, in a file: the faces of each frame before smoothing, and the scene cuts.

Beside the pixels this is all that results are made of, in a thousandth of the room.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from vtrack.errors import SourceError
from vtrack.pipelines.outputs.base import PartFile
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.types import Array, BoolArray, FloatArray, Frame, in_seconds

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
_NAMES = ("index", "pts", "cut", "owner", "id", "presence", "angle", "box", "points", "sigma")


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames and the faces in them, as arrays; faces are in the order of their frames."""

    index: Array
    """(frames,) `Frame.index`."""
    pts: Array
    """(frames,) `Frame.pts`."""
    cut: BoolArray
    """(frames,) `Frame.cut`."""
    owner: Array
    """(faces,) which of the frames each face is in."""
    id: Array
    """(faces,) its track."""
    presence: FloatArray
    """(faces,)."""
    angle: FloatArray
    """(faces,)."""
    box: FloatArray
    """(faces, 4)."""
    points: FloatArray
    """(faces, points, 2): the user's, then the anchors."""
    sigma: FloatArray
    """(faces, points)."""
    time_base: Fraction
    """Unit of `pts`."""
    size: tuple[int, int]
    """Width and height of the frames."""
    seconds: float
    """That it took."""

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def times(self) -> FloatArray:
        """(frames,) seconds from the source's own clock."""
        return np.array([in_seconds(pts, self.time_base) for pts in self.pts.tolist()])

    def place(self, moment: float | None, otherwise: int = 0) -> int:
        """The first frame at this time or after it, or how many there are; `otherwise` where no time is given."""
        return otherwise if moment is None else int(np.searchsorted(self.times, moment))

    def faces_of(self, frame: int) -> slice:
        """Which faces are in a frame."""
        return slice(*np.searchsorted(self.owner, [frame, frame + 1]))

    def frame(self, place: int) -> Frame:
        """A frame, without its pixels."""
        blank = np.broadcast_to(np.uint8(0), (self.size[1], self.size[0], 3))
        return Frame(blank, int(self.index[place]), int(self.pts[place]), self.time_base, bool(self.cut[place]))

    def sightings(self, place: int) -> dict[int, Sighting]:
        """The faces of a frame by their ids."""
        faces = range(*self.faces_of(place).indices(len(self.owner)))
        return {
            int(self.id[i]): Sighting(
                self.points[i], self.sigma[i], float(self.presence[i]), self.box[i], float(self.angle[i])
            )
            for i in faces
        }

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write it, whole or not at all, with `facts` (JSON) of how it was made."""
        frame = {
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "size": self.size,
            "seconds": self.seconds,
        }
        arrays = {name: getattr(self, name) for name in _NAMES}
        file, whole = PartFile(path), False
        try:
            with file.guarded(), file.part.open("wb") as stream:
                np.savez(stream, facts=np.array(json.dumps(facts)), frame=np.array(json.dumps(frame)), **arrays)
            whole = True
        finally:
            file.settle(whole)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read it back."""
        try:
            with np.load(path, allow_pickle=False) as file:
                frame = json.loads(str(file["frame"]))
                arrays = {name: file[name] for name in _NAMES}
        except _UNREADABLE as error:
            raise SourceError(f"{path}: no recording of ours, or a damaged one") from error
        width, height = frame["size"]
        return cls(
            **arrays, time_base=Fraction(*frame["time_base"]), size=(width, height), seconds=float(frame["seconds"])
        )


def facts_of(path: Path) -> dict[str, Any]:
    """How a recording was made; empty where there is none that can be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"])) if set(_NAMES) <= set(file.files) else {}
    except _UNREADABLE:
        return {}
    return facts if isinstance(facts, dict) else {}


@dataclass
class Recorder:
    """Collects frames for a recording; `points` is how many each face has."""

    points: int
    _began: float = field(default_factory=time.perf_counter)
    _frames: list[Frame] = field(default_factory=list)
    _faces: list[tuple[int, int, Sighting]] = field(default_factory=list)

    def add(self, frame: Frame, sightings: Mapping[int, Sighting]) -> None:
        """The next frame and its faces by their ids."""
        place = len(self._frames)
        self._frames.append(frame.without_pixels())
        self._faces += [(place, track, sighting) for track, sighting in sightings.items()]

    def recording(self) -> Recording:
        """All of it; there must be a frame."""
        first, seen = self._frames[0], [sighting for *_, sighting in self._faces]
        return Recording(
            index=np.array([frame.index for frame in self._frames], np.int64),
            pts=np.array([frame.pts for frame in self._frames], np.int64),
            cut=np.array([frame.cut for frame in self._frames], np.bool_),
            owner=np.array([place for place, *_ in self._faces], np.int64),
            id=np.array([track for _, track, _ in self._faces], np.int64),
            presence=np.array([sighting.presence for sighting in seen], np.float64),
            angle=np.array([sighting.angle for sighting in seen], np.float64),
            box=np.array([sighting.box for sighting in seen]).reshape(-1, 4),
            points=np.array([sighting.points for sighting in seen]).reshape(-1, self.points, 2),
            sigma=np.array([sighting.sigma for sighting in seen]).reshape(-1, self.points),
            time_base=first.time_base,
            size=first.size,
            seconds=time.perf_counter() - self._began,
        )
