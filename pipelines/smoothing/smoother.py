"""The smoother of the pipeline: steady faces out of trembling ones, frame by frame.

A face is followed by its id. Its track begins anew where nothing ties it to its past: after a scene cut, after a jump
across the frame, after a gap that is too long. Shorter gaps are bridged by predictions, marked `measured=False`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from vtrack.pipelines.registry import METHODS
from vtrack.pipelines.settings import Settings, Smoothing
from vtrack.pipelines.smoothing.motion import Moment, Steady, look_ahead
from vtrack.types import Face, FloatArray, FrameResult, Query

ANCHOR_PREFIX = "anchor_"
"""How the names of the points begin that tell the motion of the head; the pipeline asks for them beside the user's."""

_FORESEE = 0.2
"""Seconds for which a missing face is foretold when nobody knows whether it comes back."""
_BRIDGE = 0.5
"""Seconds of absence that are bridged when it does; after more, the track begins anew."""
_JUMP = 1.0
"""How far a face may go from one sighting to the next, in its own size (half the longer side of its box)."""
_RESIZE = 1.5
"""By what factor it may grow or shrink meanwhile."""
_PICTURES = 192 * 2**20
"""Bytes of pictures, as RGB, that may be held back at most; large pictures get a shorter look ahead."""
_LEAST_LAG = 8


@dataclass(eq=False)
class _Life:
    """One unbroken stretch of a track."""

    slot: int
    face: Face
    """As last measured."""
    time: float
    """When that was."""


@dataclass(frozen=True, eq=False, slots=True)
class _Held:
    """A frame on its way through the smoother."""

    result: FrameResult
    lives: list[_Life]
    """Of the faces measured in it, in their order."""
    missing: list[tuple[_Life, Face, float]]
    """Of faces that are not: life, face and time of their last sighting."""


class Smoother:
    """Takes frames in order, gives them back in order with steady faces; `raw` stays what the model said.

    `mode` is `rts` (zero lag, holds frames back), `kalman` or `one-euro` (causal, at once) or `none`. `strength` goes
    from 0 to 1, and `per_part` gives single parts, groups or the `head` a strength of their own.
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
        anchors = [place for place, name in enumerate(query.names) if name.startswith(ANCHOR_PREFIX)]
        # Fewer than three points do not tell a head's motion; the corners of the box help out.
        self._cornered = len(anchors or query) < 3
        self._all = query + _CORNERS if self._cornered else query
        places = anchors or range(len(query))
        self._anchors = np.array([*places, *range(len(query), len(self._all))], np.intp)
        self._steady: Steady | None = None
        self._lives: dict[int, _Life] = {}
        self._held: deque[_Held] = deque()
        self._time: float | None = None

    def push(self, result: FrameResult) -> list[FrameResult]:
        """Take the next frame, which says if a new scene begins with it; give back those that are ready, perhaps none."""
        if self.settings.mode == "none":
            return [result]
        if self._steady is None:
            self._steady = Steady(self._all, self._anchors, self.settings, lag=_lag(*result.frame.size))
        # Time stands still where timestamps do, and never runs backwards. Rounding lets equal steps be equal.
        step = 0.0 if self._time is None else round(max(result.time - self._time, 0.0), 9)
        self._time = result.time
        self._end_lives(result)
        held = self._enter(result)
        points = np.full((self._steady.tracks, len(self._all), 2), np.nan)
        sigma = np.full(points.shape[:2], np.nan)
        for life in held.lives:
            points[life.slot], sigma[life.slot] = self._measured(life.face)
        self._held.append(held)
        return [self._leave(moment) for moment in self._steady.step(points, sigma, step)]

    def flush(self) -> list[FrameResult]:
        """Give back all frames still held, in order. The smoother may go on with a new recording afterwards."""
        results = [] if self._steady is None else [self._leave(moment) for moment in self._steady.flush()]
        self._steady, self._time = None, None
        self._lives.clear()
        return results

    def _end_lives(self, result: FrameResult) -> None:
        """End the lives that cannot go on in this frame."""
        seen = {face.id: face for face in result.faces if face.measured}
        ended = [
            track
            for track, life in self._lives.items()
            if result.frame.cut
            or result.time - life.time > _BRIDGE
            or (track in seen and _jumped(life.face.box, seen[track].box))
        ]
        for track in ended:
            del self._lives[track]

    def _enter(self, result: FrameResult) -> _Held:
        """Note who is there, who is new and who is missing."""
        assert self._steady is not None
        faces = [face for face in result.faces if face.measured]
        seen = {face.id for face in faces}
        new = [face for face in faces if face.id not in self._lives]
        if new:
            taken = {life.slot for life in self._lives.values()}
            free = [slot for slot in range(len(taken) + len(new)) if slot not in taken]
            if max(free[: len(new)]) >= self._steady.tracks:
                self._steady.grow(max(free[: len(new)]) + 1)
            self._steady.reset(free[: len(new)])
            for slot, face in zip(free, new, strict=False):
                self._lives[face.id] = _Life(slot, face, result.time)
        missing = [(life, life.face, life.time) for track, life in self._lives.items() if track not in seen]
        for face in faces:
            life = self._lives[face.id]
            life.face, life.time = face, result.time
        return _Held(result, [self._lives[face.id] for face in faces], missing)

    def _measured(self, face: Face) -> tuple[FloatArray, FloatArray]:
        """Points (points, 2) and sigma (points,) as the filter wants them."""
        points, sigma = np.asarray(face.points, np.float64), np.asarray(face.sigma, np.float64)
        if self._cornered:
            points = np.concatenate([points, _corners(face.box)])
            sigma = np.concatenate([sigma, np.full(len(_CORNERS), np.median(sigma))])
        # A model that is sure of a point beyond all reason must not make the filter divide by nothing.
        return points, np.maximum(sigma, 1e-4 * np.asarray(face.box)[2:].max())

    def _leave(self, moment: Moment) -> FrameResult:
        """The frame of this moment, its faces where the moment has them."""
        held = self._held.popleft()
        result = held.result
        measured = iter(held.lives)
        faces = [_steadied(face, next(measured).slot, moment) for face in result.faces if face.measured]
        for life, face, time in held.missing:
            returned = life.time > result.time
            if returned or (METHODS[self.settings.mode].predicts and result.time - time <= _FORESEE):
                unseen = np.full(face.raw.shape, np.nan)
                faces.append(replace(_steadied(face, life.slot, moment), raw=unseen, measured=False))
        return replace(result, faces=tuple(faces))


def _lag(width: int, height: int) -> int:
    """Frames to look ahead, so that pictures of this size do not take too much memory.

    The same for frames that come without their pictures, so that results do not depend on what else is asked for.
    """
    return max(look_ahead(_PICTURES // max(width * height * 3, 1)), _LEAST_LAG)


_CORNERS = Query(("box",) * 4, (0.0,) * 4, tuple(f"box_corner_{i}" for i in range(4)))


def _corners(box: FloatArray) -> FloatArray:
    """(4, 2) corners of a box."""
    x, y, width, height = np.asarray(box, np.float64)
    return np.array([[x, y], [x + width, y], [x, y + height], [x + width, y + height]])


def _jumped(last: FloatArray, box: FloatArray) -> bool:
    """Whether a face is too far from where it was, or too much larger or smaller, to be the same in motion."""
    sizes = max(last[2:]) / 2, max(box[2:]) / 2
    shift = np.linalg.norm(box[:2] + box[2:] / 2 - last[:2] - last[2:] / 2)
    return bool(shift > _JUMP * max(sizes) or max(sizes) > _RESIZE * min(sizes))


def _steadied(face: Face, slot: int, moment: Moment) -> Face:
    """A face as the moment has it: its box goes along with the head, and sigma loses the jitter that is gone."""
    count = len(face.query)
    corners = moment.carry(slot, _corners(face.box))
    middle, scale = corners.mean(0), np.linalg.norm(corners[3] - corners[0]) / np.hypot(*face.box[2:])
    size = scale * np.asarray(face.box[2:], np.float64)
    left = np.maximum(np.square(face.sigma) - moment.noise[slot, :count], 0.0) + moment.rest[slot, :count]
    return replace(
        face,
        points=moment.points[slot, :count],
        sigma=np.sqrt(left),
        box=np.concatenate([middle - size / 2, size]),
    )
