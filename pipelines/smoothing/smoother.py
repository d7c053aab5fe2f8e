"""The smoother of the pipeline: smooths the faces of results frame by frame.

Faces are identified by track id. Within a track, smoothing restarts with a new tracklet after a scene cut, a jump across
the frame, or a long gap. Shorter gaps are filled with predictions, which have `measured=False`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import hypot

import numpy as np

from vtrack.filters.kalman import all_true
from vtrack.pipelines.registry import METHODS
from vtrack.pipelines.settings import Settings, Smoothing
from vtrack.pipelines.smoothing.channels import max_lag
from vtrack.pipelines.smoothing.motion import FilteredPoints, MotionFilter
from vtrack.types import Face, FloatArray, FrameResult, Query

ANCHOR_PREFIX = "anchor_"
"""Prefix of the names of the anchors, the points that define the motion of the head."""

_MAX_PREDICTION = 0.2
"""Seconds for which a missing face is predicted without knowing whether it returns."""
_MAX_GAP = 0.5
"""Longest gap in seconds that is filled if the face returns; after a longer one a new tracklet begins."""
_MAX_SHIFT = 1.0
"""Longest motion of a face between two sightings, in half the longer side of its box."""
_MAX_SCALE = 1.5
"""Largest change in size of a face between two sightings, as a factor."""
_SIGMA_LIMITS = 1e-4, 10.0
"""Smallest and largest sigma that the filter reckons with, in longer sides of the face's box."""
_MEMORY = 192 * 2**20
"""Largest number of bytes of frames, as RGB, that are held back; large frames get a shorter look-ahead."""
_MIN_LAG = 8
"""Smallest look-ahead in frames."""


@dataclass(eq=False)
class _Tracklet:
    """A part of a track that is smoothed as one."""

    slot: int
    """Index of the track in the motion filter."""
    face: Face
    """The face as last measured."""
    time: float
    """Time of the last measurement in seconds."""


@dataclass(frozen=True, eq=False, slots=True)
class _PendingFrame:
    """A frame that is in the smoother."""

    result: FrameResult
    tracklets: list[_Tracklet]
    """Tracklets of the faces measured in it, in their order."""
    missing: list[tuple[_Tracklet, Face, float]]
    """Tracklet, last measured face and its time, for each missing face."""


class Smoother:
    """Smooths the faces of results. Results go in and come out in order; `Face.raw` stays as the model predicted it.

    Args:
        query: The points of the faces, anchors included.
        mode: `rts` (no lag, holds frames back), `kalman` or `one-euro` (causal, without delay), or `none`.
        strength: Strength of smoothing, 0 (hardly any) to 1 (very strong).
        per_part: Strengths of single parts, groups of parts, or the `head`.

    Raises:
        UsageError: A mode, strength or part is invalid.

    Example:
        smoother = Smoother(query, "kalman")
        for result in results:
            for smooth in smoother.push(result):
                print(smooth.faces)
        print(smoother.flush())
    """

    def __init__(
        self,
        query: Query,
        mode: str = Settings.smooth,
        strength: float = Settings.strength,
        per_part: Mapping[str, float] | None = None,
    ) -> None:
        self.settings = Smoothing(mode, strength, dict(per_part or {}))
        self.query = query
        anchors = [i for i, name in enumerate(query.names) if name.startswith(ANCHOR_PREFIX)]
        # Fewer than three points do not define the motion of a head; the corners of the box are added.
        self._uses_corners = len(anchors or query) < 3
        self._query = query + _CORNERS if self._uses_corners else query
        indices = anchors or range(len(query))
        self._anchors = np.array([*indices, *range(len(query), len(self._query))], np.intp)
        self._motion: MotionFilter | None = None
        self._tracklets: dict[int, _Tracklet] = {}
        self._pending: deque[_PendingFrame] = deque()
        self._time: float | None = None

    def push(self, result: FrameResult) -> list[FrameResult]:
        """Add the next result, with `Frame.cut` where a new scene begins.

        Returns:
            The smoothed results that are ready, in order; none while frames are held back.
        """
        if self.settings.mode == "none":
            return [result]
        if self._motion is None:
            self._motion = MotionFilter(self._query, self._anchors, self.settings, lag=_lag(*result.frame.size))
        # A backward timestamp counts as an equal one; see `vtrack.filters.motion.bounded_step`. Rounding makes equal steps
        # exactly equal, which saves work in the filter.
        step = 0.0 if self._time is None else round(max(result.time - self._time, 0.0), 9)
        self._time = result.time
        self._end_tracklets(result)
        pending = self._add(result)
        points = np.full((self._motion.tracks, len(self._query), 2), np.nan)
        sigma = np.full(points.shape[:2], np.nan)
        for tracklet in pending.tracklets:
            points[tracklet.slot], sigma[tracklet.slot] = self._measurement(tracklet.face)
        self._pending.append(pending)
        return [self._result(filtered) for filtered in self._motion.step(points, sigma, step)]

    def flush(self) -> list[FrameResult]:
        """Return the results that are still held back, in order; the smoother can then start with a new video."""
        results = [] if self._motion is None else [self._result(points) for points in self._motion.flush()]
        self._motion, self._time = None, None
        self._tracklets.clear()
        return results

    def _end_tracklets(self, result: FrameResult) -> None:
        """End the tracklets that cannot continue in this frame."""
        seen = {face.id: face for face in result.faces if face.measured}
        ended = [
            track
            for track, tracklet in self._tracklets.items()
            if result.frame.cut
            or abs(result.time - tracklet.time) > _MAX_GAP
            or (track in seen and _jumped(tracklet.face.box, seen[track].box))
        ]
        for track in ended:
            del self._tracklets[track]

    def _add(self, result: FrameResult) -> _PendingFrame:
        """Update the tracklets with the faces of a frame, and start new ones."""
        assert self._motion is not None
        faces = [face for face in result.faces if face.measured]
        seen = {face.id for face in faces}
        new = [face for face in faces if face.id not in self._tracklets]
        if new:
            used = {tracklet.slot for tracklet in self._tracklets.values()}
            free = [slot for slot in range(len(used) + len(new)) if slot not in used]
            if max(free[: len(new)]) >= self._motion.tracks:
                self._motion.grow(max(free[: len(new)]) + 1)
            self._motion.reset(free[: len(new)])
            for slot, face in zip(free, new, strict=False):
                self._tracklets[face.id] = _Tracklet(slot, face, result.time)
        missing = [
            (tracklet, tracklet.face, tracklet.time) for track, tracklet in self._tracklets.items() if track not in seen
        ]
        for face in faces:
            tracklet = self._tracklets[face.id]
            tracklet.face, tracklet.time = face, result.time
        return _PendingFrame(result, [self._tracklets[face.id] for face in faces], missing)

    def _measurement(self, face: Face) -> tuple[FloatArray, FloatArray]:
        """Return points (points, 2) and sigma (points,) of a face for the motion filter."""
        points, sigma = np.asarray(face.points, np.float64), np.asarray(face.sigma, np.float64)
        if self._uses_corners:
            points = np.concatenate([points, _corners(face.box)])
            sigma = np.concatenate([sigma, np.full(len(_CORNERS), np.median(sigma))])
        # Zero, infinite or no sigma at all would leave the filter without a weight.
        side = np.asarray(face.box)[2:].max()
        least, most = (share * side for share in _SIGMA_LIMITS)
        # Plain minima and maxima: `numpy.clip` takes several times as long for so few.
        finite = np.isfinite(sigma)
        sigma = sigma if all_true(finite) else np.where(finite, sigma, np.inf)
        return points, np.minimum(np.maximum(sigma, least), most)

    def _result(self, filtered: FilteredPoints) -> FrameResult:
        """Return the oldest pending result with its filtered faces."""
        pending = self._pending.popleft()
        result = pending.result
        tracklets = iter(pending.tracklets)
        faces = [_smoothed(face, next(tracklets).slot, filtered) for face in result.faces if face.measured]
        for tracklet, face, time in pending.missing:
            returned = tracklet.time > result.time
            if returned or (METHODS[self.settings.mode].predicts and result.time - time <= _MAX_PREDICTION):
                unmeasured = np.full(face.raw.shape, np.nan)
                predicted = _smoothed(face, tracklet.slot, filtered)
                faces.append(replace(predicted, raw=unmeasured, measured=False, unsmoothed=None, hidden=None))
        return replace(result, faces=tuple(faces))


def _lag(width: int, height: int) -> int:
    """Return the look-ahead in frames, such that frames of this size do not take too much memory.

    It is the same for frames without pixels, so that results do not depend on the outputs.
    """
    return max(max_lag(_MEMORY // max(width * height * 3, 1)), _MIN_LAG)


_CORNERS = Query(("box",) * 4, (0.0,) * 4, tuple(f"box_corner_{i}" for i in range(4)))


def _corners(box: FloatArray) -> FloatArray:
    """Return the corners (4, 2) of a box."""
    x, y, width, height = np.asarray(box, np.float64)
    return np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]])


def _jumped(last: FloatArray, box: FloatArray) -> bool:
    """Return whether position or size of a face changed too much for motion."""
    # Plain numbers: NumPy takes many times as long for four of them.
    (x, y, width, height), (last_x, last_y, last_width, last_height) = box.tolist(), last.tolist()
    sizes = max(last_width, last_height) / 2, max(width, height) / 2
    shift = hypot(x + width / 2 - last_x - last_width / 2, y + height / 2 - last_y - last_height / 2)
    return shift > _MAX_SHIFT * max(sizes) or max(sizes) > _MAX_SCALE * min(sizes)


def _smoothed(face: Face, slot: int, filtered: FilteredPoints) -> Face:
    """Return a face with filtered points; its box moves with the head, and sigma loses the removed jitter."""
    count = len(face.query)
    corners = filtered.move(slot, _corners(face.box))
    diagonal = corners[3] - corners[0]
    center, scale = corners.sum(0) / 4, np.sqrt(diagonal.dot(diagonal)) / np.hypot(*face.box[2:])
    size = scale * np.asarray(face.box[2:], np.float64)
    variance = np.maximum(np.square(face.sigma) - filtered.jitter[slot, :count], 0.0) + filtered.variance[slot, :count]
    return replace(
        face,
        points=filtered.points[slot, :count],
        sigma=np.sqrt(variance),
        box=np.concatenate([center - size / 2, size]),
    )
