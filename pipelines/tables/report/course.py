"""The course of a video in bins of frames: what plots show, in memory that does not grow with the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from vtrack.types import FloatArray

BINS = 2048
"""Bins that are kept; where there would be more, two become one. Half of them at least are used of a long video."""
_ENDED, _LIVE = 16, 64
"""Faces that are kept: those with the most frames, and of those that are there at present more."""
_SHORTEST = 1e-3
"""Seconds that the last frame lasts at least: that of a single frame is not known, and a plot needs some length."""
_GONE = 10.0
"""Seconds after which a face is not expected to come back; ids of vtrack are never reused."""


@dataclass(eq=False, slots=True)
class FaceCourse:
    """The values of one face in bins."""

    number: int
    columns: int
    frames: int = 0
    start: float = 0.0
    end: float = 0.0
    count: npt.NDArray[np.int32] = field(init=False)
    """(bins, columns) values that are known."""
    total: FloatArray = field(init=False)
    """(bins, columns) their sum."""
    low: npt.NDArray[np.float32] = field(init=False)
    high: npt.NDArray[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        shape = (BINS, self.columns)
        self.count, self.total = np.zeros(shape, np.int32), np.zeros(shape)
        self.low, self.high = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)

    def add(self, bins: npt.NDArray[np.intp], values: FloatArray) -> None:
        """Add values (rows, columns) to bins (rows,); NaN is unknown."""
        known = np.isfinite(values)
        np.add.at(self.count, bins, known)
        np.add.at(self.total, bins, np.where(known, values, 0.0))
        np.minimum.at(self.low, bins, np.where(known, values, np.inf).astype(np.float32))
        np.maximum.at(self.high, bins, np.where(known, values, -np.inf).astype(np.float32))

    def halve(self) -> None:
        """Make one bin of two."""
        half = BINS // 2
        for array, empty, join in (
            (self.count, 0, np.add),
            (self.total, 0, np.add),
            (self.low, np.inf, np.minimum),
            (self.high, -np.inf, np.maximum),
        ):
            array[:half] = join(array[::2], array[1::2])
            array[half:] = empty

    def mean(self, column: int) -> FloatArray:
        """(bins,) mean of a column, NaN where nothing is known."""
        known = self.count[:, column] > 0
        return np.where(known, self.total[:, column] / np.maximum(self.count[:, column], 1), np.nan)

    def range(self, column: int) -> tuple[FloatArray, FloatArray]:
        """(bins,) smallest and largest value of a column, NaN where nothing is known."""
        known = self.count[:, column] > 0
        low, high = (array[:, column].astype(np.float64) for array in (self.low, self.high))
        return np.where(known, low, np.nan), np.where(known, high, np.nan)


class Course:
    """The values of all faces over time.

    Args:
        columns: Names of the values.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.width = 1
        """Frames of a bin."""
        self.frames = 0
        self.used = 0
        """Bins that hold frames."""
        self.time = np.full(BINS, np.nan)
        """(bins,) time of the first frame of each bin."""
        self.index = np.zeros(BINS, np.int64)
        """(bins,) its number."""
        self.face_count = np.zeros(BINS)
        """(bins,) faces, counted in each frame."""
        self.cut = np.zeros(BINS, bool)
        """(bins,) whether a scene begins in the bin."""
        self.files: dict[int, str] = {}
        """Name of the first image file of each bin."""
        self.end = 0.0
        """Time of the last frame."""
        self.tracks: set[int] = set()
        """Ids of all faces."""
        self._kept: dict[int, FaceCourse] = {}

    @property
    def faces(self) -> list[FaceCourse]:
        """The faces that are kept, those with the most frames first."""
        return sorted(self._kept.values(), key=lambda face: (-face.frames, face.number))

    @property
    def edges(self) -> FloatArray:
        """(used + 1,) begin of each bin, and the end of the last."""
        times = self.time[: self.used]
        step = (self.end - times[0]) / max(self.frames - 1, 1) if self.used else 0.0
        return np.append(times, self.end + max(step, _SHORTEST))

    @property
    def length(self) -> float:
        """Time from the begin of the first bin to the end of the last; 0 without frames."""
        edges = self.edges
        return float(edges[-1] - edges[0]) if self.used else 0.0

    def add_frames(
        self,
        times: FloatArray,
        indices: npt.NDArray[np.int64],
        faces: npt.NDArray[np.intp],
        cuts: npt.NDArray[np.bool_],
        files: Sequence[str],
    ) -> npt.NDArray[np.intp]:
        """Add the next frames with their numbers of faces and names; return the place of each, for `add_faces`."""
        places = self.frames + np.arange(len(times))
        self.frames += len(times)
        while self.frames > BINS * self.width:
            self._halve()
        bins = places // self.width
        first = np.flatnonzero(places % self.width == 0)
        self.time[bins[first]], self.index[bins[first]] = times[first], indices[first]
        self.files.update((int(bins[i]), files[i]) for i in first.tolist() if files[i])
        np.add.at(self.face_count, bins, faces)
        self.cut[bins[cuts]] = True
        self.used, self.end = (self.frames - 1) // self.width + 1, float(times[-1])
        return places

    def add_faces(
        self,
        places: npt.NDArray[np.intp],
        times: FloatArray,
        ids: npt.NDArray[np.int64],
        values: FloatArray,
    ) -> None:
        """Add the values (rows, columns) of faces in frames that were added."""
        bins = places // self.width
        for number in np.unique(ids).tolist():
            rows = ids == number
            face = self._kept.get(number)
            if face is None:
                if number in self.tracks:
                    continue  # it was given up
                self.tracks.add(number)
                face = self._kept[number] = FaceCourse(number, len(self.columns), start=float(times[rows][0]))
            face.add(bins[rows], values[rows])
            face.frames += int(rows.sum())
            face.end = float(times[rows][-1])
        self._give_up()

    def mean_faces(self) -> FloatArray:
        """(used,) mean number of faces."""
        frames = np.full(self.used, self.width)
        if self.used:
            frames[-1] = self.frames - (self.used - 1) * self.width
        mean: FloatArray = self.face_count[: self.used] / frames
        return mean

    def _give_up(self) -> None:
        """Forget the faces with the fewest frames, where there are too many."""
        by_size = sorted(self._kept.values(), key=lambda face: (face.frames, -face.number))
        ended = [face for face in by_size if self.end - face.end > _GONE]
        live = [face for face in by_size if self.end - face.end <= _GONE]
        for faces, most in ((ended, _ENDED), (live, _LIVE)):
            for face in faces[: max(len(faces) - most, 0)]:
                del self._kept[face.number]

    def _halve(self) -> None:
        half = BINS // 2
        self.width *= 2
        self.time[:half], self.index[:half] = self.time[::2].copy(), self.index[::2].copy()
        self.face_count[:half] = self.face_count[::2] + self.face_count[1::2]
        self.cut[:half] = self.cut[::2] | self.cut[1::2]
        self.time[half:], self.index[half:], self.face_count[half:], self.cut[half:] = np.nan, 0, 0, False
        self.files = {place // 2: name for place, name in self.files.items() if place % 2 == 0}
        for face in self._kept.values():
            face.halve()
