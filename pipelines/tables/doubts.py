"""Where a table should not be trusted, by what it says itself: stretches of time of one face, the worst first."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from vtrack.errors import VTrackError
from vtrack.models import card_path
from vtrack.models.card import read_landmark_card
from vtrack.pipelines.tracking.doubt import LEAST_CERTAIN, WorstFace
from vtrack.types import BoolArray, FloatArray, FrameResult

REASONS: Mapping[str, str] = {
    "brief": "seen for a moment only",
    "jump": "jumps",
    "presence": "hardly a face",
    "unseen": "not seen, points are predicted",
    "uncertain": "points uncertain",
    "edge": "cut by the picture’s edge",
    "turned": "turned far away",
    "small": "small",
    "replaced": "points out of bounds were replaced",
    "off": "points probably off",
    "flow": "points move otherwise than the picture",
    "lost": "a picture that is hard to follow",
    "place": "the picture looks as if the face lay beside the points",
    "unlike": "the picture hardly looks like a face",
    "smoothing": "raw points far from smoothed ones",
    "tremble": "points tremble",
    "half_rate": "the head moves by jerks",
    "shape": "not the shape of a face",
    "rigid": "the shape of the face changes",
    "iris": "irises change their size",
}
"""Why a face is doubtful. The last ones, from `off`, are found by `vtrack check` alone."""
BRIEF = 0.5
"""Seconds; a face that is seen for less may be none."""
TURNED = 45.0
"""Degrees of yaw from which the far side of a face is a guess."""
SMALL = 32.0
"""Side of the box in pixels below which a face has few pixels: models see 128 and more."""
JUMP = 0.5
"""Sides of the box by which no face moves from one frame to the next."""
EDGE = 0.05
"""Share of the box beyond the picture from which a face counts as cut."""
ABSENT, VAGUE = 0.1, 0.75
"""Presence below that of the worst faces, and sigma as a factor of theirs, from which a face is doubtful. Points of sharp
frontal faces have 0.4 of their sigma, with `fast`; heads turned by 40 degrees and faces blurred by motion reach 0.75."""
OFF = 8.0
"""Estimated error, in % of the distance between the outer corners of the eyes, from which points count as off; benchmarks call
a face with a larger error a failure."""
_FULL = {"presence": 0.2, "uncertain": 0.5, "turned": 30.0, "edge": 0.25, "off": 16.0}
"""How far beyond the limit the weight of a reason is 1."""
_WEIGHT = {"jump": 1.0, "unseen": 0.5, "small": 0.3, "replaced": 0.5}
"""Weights of reasons that are there or not."""
_LEAST = 0.1
_JOINED, _JOINED_FRAMES = 0.5, 15.0
"""Seconds between two stretches that make them one; frames in a table without times."""
_NEXT, _NEXT_FRAMES = 0.2, 1.5
"""Seconds within which a frame follows another one; frames in a table without times."""
_SAME = 0.05
"""Weights that differ by less count the same; the longer stretch comes first then."""


@dataclass(eq=False, slots=True)
class Doubt:
    """A stretch of time in which a face is doubtful."""

    face: int
    start: float
    end: float
    reasons: dict[str, float] = field(default_factory=dict)
    """Largest weight of each reason, 0 to 1."""
    weight: float = 0.0
    """Largest sum of the weights of a frame."""
    frame: int = 0
    """The frame with that sum, and its time."""
    time: float = 0.0
    file: str = ""
    box: FloatArray = field(default_factory=lambda: np.zeros(4))
    points: FloatArray = field(default_factory=lambda: np.zeros((0, 2)))
    error: float = np.nan
    """Largest estimated error, if it was estimated."""

    @property
    def rank(self) -> tuple[float, float, int, int]:
        """Larger is worse."""
        return round(self.weight / _SAME), self.end - self.start, -self.frame, -self.face

    @property
    def texts(self) -> list[str]:
        """The reasons in words, the heaviest first."""
        order = list(REASONS)
        return [
            REASONS[name] for name in sorted(self.reasons, key=lambda name: (-self.reasons[name], order.index(name)))
        ]


@dataclass(frozen=True, eq=False, slots=True)
class FaceRows:
    """Successive rows of faces, of many frames."""

    frame: npt.NDArray[np.int64]
    time: FloatArray
    face: npt.NDArray[np.int64]
    presence: FloatArray
    measured: BoolArray
    box: FloatArray
    """(rows, 4)"""
    points: FloatArray
    """(rows, points, 2)"""
    sigma: FloatArray
    """(rows,) mean of the points in sides of the box."""
    replaced: BoolArray
    """(rows,) whether points have no sigma while others have."""
    yaw: FloatArray
    cut: BoolArray
    """(rows,) whether a scene begins with the frame."""
    file: tuple[str, ...]
    error: FloatArray
    """(rows,) estimated error in % of the distance between the outer corners of the eyes; NaN where it was not estimated."""

    @classmethod
    def of(cls, results: Sequence[FrameResult], yaw: FloatArray, error: FloatArray | None = None) -> Self:
        """The faces of frames, at least one.

        Args:
            results: The frames.
            yaw: (rows,) degrees; NaN where it is not known.
            error: (rows,) see above; None if it was not estimated.
        """
        counts, faces = [len(result.faces) for result in results], [face for result in results for face in result.faces]
        box, sigma = np.array([face.box for face in faces]), np.array([face.sigma for face in faces])
        known = np.isfinite(sigma)
        mean = np.where(known, sigma, 0).sum(1) / np.maximum(known.sum(1), 1)
        return cls(
            frame=np.repeat([result.index for result in results], counts),
            time=np.repeat([result.time for result in results], counts),
            face=np.array([face.id for face in faces], np.int64),
            presence=np.array([face.presence for face in faces], np.float64),
            measured=np.array([face.measured for face in faces], bool),
            box=box,
            points=np.array([face.points for face in faces]),
            sigma=np.where(known.any(1), mean / box_sides(box), np.nan),
            replaced=~known.all(1) & known.any(1),
            yaw=yaw,
            cut=np.repeat([result.frame.cut for result in results], counts),
            file=tuple(result.frame.file for result in results for _ in result.faces),
            error=np.full(len(faces), np.nan) if error is None else error,
        )

    @property
    def side(self) -> FloatArray:
        """(rows,) root of the area of the box."""
        return box_sides(self.box)


def box_sides(box: FloatArray) -> FloatArray:
    """(rows,) roots of the areas of boxes (rows, 4)."""
    return np.sqrt(np.maximum(box[:, 2] * box[:, 3], 1e-6))


def worst_faces(model: Mapping[str, object]) -> WorstFace:
    """How uncertain the model of a run is of true faces, by its card; `model` is what the facts say of it."""
    name = model.get("name")
    known: dict[str, float] = {}
    if isinstance(name, str):
        try:
            known = dict(read_landmark_card(card_path(name)).faces)
        except VTrackError:
            known = {}  # a model of the user's own
    return replace(LEAST_CERTAIN, **known)


class DoubtFinder:
    """Finds doubtful stretches while rows come.

    Args:
        worst: How uncertain the model is of true faces.
        size: Width and height of the frames; None if unknown.
        timed: Whether times are seconds; else they are numbers of frames.
        photographs: Whether frames are photographs, so that a face is seen in one alone.
        most: Number of stretches that are kept.
    """

    def __init__(
        self,
        worst: WorstFace,
        size: tuple[int, int] | None,
        *,
        timed: bool = True,
        photographs: bool = False,
        most: int = 12,
    ) -> None:
        self.worst = worst
        self.seconds: dict[str, float] = dict.fromkeys(REASONS, 0.0)
        """Seconds for each reason (of photographs faces, without times frames), summed over faces."""
        self.doubtful = 0
        """Rows that are doubtful."""
        self.stretches = 0
        """Number of stretches, those that are not kept included."""
        self._size, self._photographs, self._most = size, photographs, most
        self._joined, self._next = (_JOINED, _NEXT) if timed else (_JOINED_FRAMES, _NEXT_FRAMES)
        self._open: dict[int, Doubt] = {}
        self._heap: list[tuple[tuple[float, float, int, int], Doubt]] = []
        self._last: dict[int, tuple[float, FloatArray, float]] = {}
        """Time, centre and side of each face when it was last seen."""

    def weights(self, rows: FaceRows) -> dict[str, FloatArray]:
        """(rows,) weight of each reason; 0 where it does not apply."""
        side, sigma = rows.side, rows.sigma / self.worst.sigma
        beyond = {
            "presence": self.worst.presence - ABSENT - rows.presence,
            "uncertain": sigma - VAGUE,
            "turned": np.abs(rows.yaw) - TURNED,
            "edge": self._beyond(rows.box) - EDGE,
            "off": rows.error - OFF,
        }
        there = {
            "jump": self._jumps(rows),
            "unseen": ~rows.measured,
            "small": side < SMALL,
            "replaced": rows.replaced,
        }
        graded = {
            name: np.where(amount > 0, np.clip(amount / _FULL[name], _LEAST, 1.0), 0.0)
            for name, amount in beyond.items()
        }
        return graded | {name: flags * _WEIGHT[name] for name, flags in there.items()}

    def add(self, rows: FaceRows, interval: float, further: Mapping[str, FloatArray] | None = None) -> FloatArray:
        """Take rows into account; return (rows,) their weights.

        Args:
            rows: The next rows.
            interval: Seconds for which a row stands.
            further: (rows,) weights of reasons that rows do not tell.
        """
        weights = self.weights(rows) | dict(further or {})
        sums = np.minimum(np.sum([*weights.values()], 0), 1.0)
        for name, weight in weights.items():
            self.seconds[name] += float(np.count_nonzero(weight)) * interval
        doubtful = np.flatnonzero(sums > 0)
        self.doubtful += len(doubtful)
        for row in doubtful.tolist():
            self._extend(
                rows, row, {name: float(weight[row]) for name, weight in weights.items() if weight[row]}, sums[row]
            )
        if len(rows.time):
            self._close(float(rows.time[-1]))
        return sums

    def add_brief(self, doubt: Doubt) -> None:
        """Add a face that was seen for a moment only."""
        self.seconds["brief"] += doubt.end - doubt.start
        self._keep(doubt)

    def finish(self) -> list[Doubt]:
        """Return the stretches, the worst first."""
        self._close(np.inf)
        return [doubt for _, doubt in sorted(self._heap, key=lambda entry: entry[0], reverse=True)]

    def _extend(self, rows: FaceRows, row: int, reasons: dict[str, float], weight: float) -> None:
        """Add a row to the stretch of its face."""
        number, time = int(rows.face[row]), float(rows.time[row])
        key = number if not self._photographs else (int(rows.frame[row]) << 20) + number
        doubt = self._open.get(key)
        if doubt is not None and time - doubt.end > self._joined:
            self._keep(self._open.pop(key))
            doubt = None
        if doubt is None:
            doubt = self._open[key] = Doubt(number, time, time)
        doubt.end = time
        for name, value in reasons.items():
            doubt.reasons[name] = max(value, doubt.reasons.get(name, 0.0))
        doubt.error = float(np.fmax(doubt.error, rows.error[row]))
        if weight > doubt.weight:
            doubt.weight, doubt.frame, doubt.time = float(weight), int(rows.frame[row]), time
            doubt.file = rows.file[row] if rows.file else ""
            doubt.box, doubt.points = rows.box[row].copy(), rows.points[row].copy()

    def _close(self, time: float) -> None:
        """End the stretches that no row can extend any more."""
        for key in [key for key, doubt in self._open.items() if self._photographs or time - doubt.end > self._joined]:
            self._keep(self._open.pop(key))

    def _keep(self, doubt: Doubt) -> None:
        self.stretches += 1
        entry = doubt.rank, doubt
        if len(self._heap) < self._most:
            heapq.heappush(self._heap, entry)
        elif self._most and entry[0] > self._heap[0][0]:
            heapq.heapreplace(self._heap, entry)

    def _beyond(self, box: FloatArray) -> FloatArray:
        """(rows,) share of the sides of boxes beyond the picture."""
        if self._size is None or self._photographs:
            return np.zeros(len(box))
        low, high = box[:, :2], box[:, :2] + box[:, 2:]
        outside = np.maximum(-low, 0) + np.maximum(high - np.array(self._size), 0)
        share: FloatArray = (outside / np.maximum(box[:, 2:], 1e-6)).max(1)
        return share

    def _jumps(self, rows: FaceRows) -> BoolArray:
        """(rows,) whether a face is elsewhere than in the frame before."""
        jumps = np.zeros(len(rows.time), bool)
        if self._photographs:
            return jumps
        centers, side = rows.box[:, :2] + rows.box[:, 2:] / 2, rows.side
        for number in np.unique(rows.face).tolist():
            places = np.flatnonzero(rows.face == number)
            time, center, sides = rows.time[places], centers[places], side[places]
            if number in self._last:
                before, at, size = self._last[number]
                time, center = np.insert(time, 0, before), np.insert(center, 0, at, axis=0)
                sides = np.insert(sides, 0, size)
            moved = np.linalg.norm(np.diff(center, axis=0), axis=1) / np.maximum(sides[1:], sides[:-1])
            jumps[places[len(places) - len(moved) :]] = (moved > JUMP) & (np.diff(time) < self._next)
            self._last[number] = float(time[-1]), center[-1].copy(), float(sides[-1])
        jumps &= ~rows.cut
        newest = float(rows.time[-1]) if len(rows.time) else 0.0
        self._last = {number: last for number, last in self._last.items() if newest - last[0] < 1.0}
        return jumps
