"""Recording of one piece of a video: the faces of each frame before smoothing, and the scene cuts.

Apart from the pixels this is everything that results are made of, in a thousandth of the space.
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
from vtrack.imaging.planes import Blank
from vtrack.pipelines.outputs.files import whole_file
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.types import Array, BoolArray, FloatArray, Frame, in_seconds

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
_NAMES = ("index", "pts", "cut", "owner", "id", "presence", "angle", "box", "points", "sigma", "hidden")


@dataclass(frozen=True, eq=False)
class PieceRecording:
    """Frames and their faces as arrays; faces are in the order of their frames."""

    index: Array
    """(frames,) `Frame.index`."""
    pts: Array
    """(frames,) `Frame.pts`."""
    cut: BoolArray
    """(frames,) `Frame.cut`."""
    owner: Array
    """(faces,) index of each face's frame in this recording."""
    id: Array
    """(faces,) id of its track."""
    presence: FloatArray
    """(faces,) probability that it is a face."""
    angle: FloatArray
    """(faces,) in-plane rotation in radians."""
    box: FloatArray
    """(faces, 4) x, y, w, h in pixels."""
    points: FloatArray
    """(faces, points, 2) in pixels: the user's points, then the anchors."""
    sigma: FloatArray
    """(faces, points) standard deviation in pixels."""
    hidden: FloatArray
    """(faces, points) probability that something hides the point; NaN where the model does not tell."""
    time_base: Fraction
    """Unit of `pts`."""
    size: tuple[int, int]
    """Width and height of the frames."""
    seconds: float
    """Seconds that tracking took."""

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def times(self) -> FloatArray:
        """(frames,) times in seconds of the video's clock."""
        return np.array([in_seconds(pts, self.time_base) for pts in self.pts.tolist()])

    def index_at(self, time: float | None, default: int = 0) -> int:
        """Index of the first frame at or after a time in seconds; `default` if the time is None."""
        return default if time is None else int(np.searchsorted(self.times, time))

    def faces_of(self, frame: int) -> slice:
        """The faces of a frame, as a slice of the arrays of faces."""
        return slice(*np.searchsorted(self.owner, [frame, frame + 1]))

    def frame(self, i: int) -> Frame:
        """Frame number `i` of the recording, without pixels."""
        blank = Blank((self.size[1], self.size[0], 3))
        return Frame(blank, int(self.index[i]), int(self.pts[i]), self.time_base, bool(self.cut[i]))

    def sightings(self, frame: int) -> dict[int, Sighting]:
        """The faces of a frame by track id."""
        faces = range(*self.faces_of(frame).indices(len(self.owner)))
        return {
            int(self.id[i]): Sighting(
                self.points[i],
                self.sigma[i],
                float(self.presence[i]),
                self.box[i],
                float(self.angle[i]),
                self.hidden[i],
            )
            for i in faces
        }

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the recording, completely or not at all, with JSON `facts` about how it was made."""
        frame = {
            "time_base": [self.time_base.numerator, self.time_base.denominator],
            "size": self.size,
            "seconds": self.seconds,
        }
        arrays = {name: getattr(self, name) for name in _NAMES}
        with whole_file(path) as part, part.open("wb") as stream:
            np.savez(stream, facts=np.array(json.dumps(facts)), frame=np.array(json.dumps(frame)), **arrays)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a recording.

        Raises:
            SourceError: The file is missing, damaged or not a recording.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                frame = json.loads(str(file["frame"]))
                arrays = {name: file[name] for name in _NAMES}
        except _UNREADABLE as error:
            raise SourceError(f"{path}: not a recording of a piece, or damaged") from error
        width, height = frame["size"]
        return cls(
            **arrays, time_base=Fraction(*frame["time_base"]), size=(width, height), seconds=float(frame["seconds"])
        )


def read_facts(path: Path) -> dict[str, Any]:
    """The facts saved with a recording; empty if it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"])) if set(_NAMES) <= set(file.files) else {}
    except _UNREADABLE:
        return {}
    return facts if isinstance(facts, dict) else {}


@dataclass
class PieceRecorder:
    """Collects the frames of a recording."""

    points: int
    """Number of points of each face."""
    _start: float = field(default_factory=time.perf_counter)
    _frames: list[Frame] = field(default_factory=list)
    _faces: list[tuple[int, int, Sighting]] = field(default_factory=list)

    def add(self, frame: Frame, sightings: Mapping[int, Sighting]) -> None:
        """Add the next frame and its faces by track id."""
        index = len(self._frames)
        self._frames.append(frame.without_pixels())
        self._faces += [(index, track, sighting) for track, sighting in sightings.items()]

    def recording(self) -> PieceRecording:
        """The recording of all frames added; there must be at least one."""
        first, sightings = self._frames[0], [sighting for *_, sighting in self._faces]
        return PieceRecording(
            index=np.array([frame.index for frame in self._frames], np.int64),
            pts=np.array([frame.pts for frame in self._frames], np.int64),
            cut=np.array([frame.cut for frame in self._frames], np.bool_),
            owner=np.array([index for index, *_ in self._faces], np.int64),
            id=np.array([track for _, track, _ in self._faces], np.int64),
            presence=np.array([sighting.presence for sighting in sightings], np.float64),
            angle=np.array([sighting.angle for sighting in sightings], np.float64),
            box=np.array([sighting.box for sighting in sightings]).reshape(-1, 4),
            points=np.array([sighting.points for sighting in sightings]).reshape(-1, self.points, 2),
            sigma=np.array([sighting.sigma for sighting in sightings]).reshape(-1, self.points),
            hidden=np.array([sighting.hidden for sighting in sightings], np.float64).reshape(-1, self.points),
            time_base=first.time_base,
            size=first.size,
            seconds=time.perf_counter() - self._start,
        )
