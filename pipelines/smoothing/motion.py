"""Filtering of points: the motion of the head and the motion of the parts relative to it, each with its own model.

All lengths are in face units, the root mean square distance of a face's anchors from their mean (about 0.7 of the distance
between the outer corners of the eyes), so settings have the same effect on small and on large faces.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.filters.kalman import all_true
from vtrack.filters.rigid import Body, ComplexArray, known_median, to_complex, to_plane
from vtrack.parts import GROUPS
from vtrack.pipelines.registry import HEAD, METHODS
from vtrack.pipelines.settings import Smoothing
from vtrack.pipelines.smoothing.channels import LAG, ChannelFilter, Traits
from vtrack.pipelines.smoothing.jitter import JitterLevel
from vtrack.types import FloatArray, Query

_HEAD, _PARTS = slice(0, 2), slice(2, None)
"""Indices of the channels: shift and turn of the head, then the parts."""

# How the constants were chosen: the likelihood of innovations was scanned over seven powers of ten of density on two real
# clips (`webcam-man`, `expressions-audio`, an early model), with agility on. It decides little: for parts it is nearly
# flat, and for the shift of the head it prefers about 10 ** 4 times the value here. The annotated video frames at hand
# (`ytf68`) are a dozen unordered frames per person, without times, so they say nothing about motion. The values are
# therefore no maximum likelihood estimates: they were chosen by hand on `vtrack bench --smooth`, for jitter, blinks, lag
# and error together, and the learning of the jitter level also by how calm the real clips became. On six seeds RTS reduces
# jitter 5.3 times and keeps 99 % of a blink; Kalman reduces it 3.1 times (2.9 to 3.2), and is nearer to the truth than raw
# points on each of 30 clips.
_DENSITY = {"eyes": 4e-6, "lips": 4e-6, "brows": 2e-6, "pupils": 2e-5, HEAD: 6e-5}
"""Density of the process noise by kind of part, in squared face units per cubed second ..."""
_DEFAULT_DENSITY = 1e-6
"""... and of all other parts."""
_JITTER, _HEAD_JITTER = 0.20, 0.12
"""First estimate of the jitter of points and of the whole head, relative to sigma, which is the whole error: measured 0.13
to 0.20 and 0.06 to 0.09 on calm clips. `JitterLevel` corrects both."""
_AGILITY_GAIN = {"eyes": 4.0}
"""Gain of the agility of a part, see `vtrack.filters.kalman.Groups`. A blink turns round within a frame or two, with less
motion than would be detected, so eyes that move at all are followed closely."""


@dataclass(frozen=True, eq=False, slots=True)
class FilteredPoints:
    """The filtered points of all tracks in one frame; NaN for a track that has no face yet."""

    points: FloatArray
    """(tracks, points, 2) in pixels."""
    jitter: FloatArray
    """(tracks, points) variance of the jitter of the last measured points, in square pixels."""
    variance: FloatArray
    """(tracks, points) variance that remains after filtering, larger where nothing was measured, in square pixels."""
    head: ComplexArray
    """(tracks, 2) shift and turn of the head."""
    measured_head: ComplexArray
    """(tracks, 2) shift and turn of the head in the last measured frame, before filtering."""

    def move(self, track: int, points: FloatArray) -> FloatArray:
        """Move points (n, 2) of the last measured frame with the filtered head of a track."""
        (shift, turn), (last_shift, last_turn) = self.head[track], self.measured_head[track]
        return to_plane(shift + turn * (to_complex(points) - last_shift) / last_turn)


class MotionFilter:
    """Filters the points of all tracks, frame by frame: the motion of the head, and that of the parts relative to it.

    Args:
        query: The points.
        anchors: Indices of the points that define the motion of the head.
        settings: Method and strengths of smoothing.
        lag: Frames of look-ahead of the method without lag.
    """

    def __init__(self, query: Query, anchors: npt.NDArray[np.intp], settings: Smoothing, *, lag: int = LAG) -> None:
        count = len(query)
        kinds = [_kind(part) for part in query.parts]
        method = METHODS[settings.mode]
        if not method.import_path:
            raise ValueError(f"smoothing {settings.mode!r} has no filter")
        self._causal = method.online
        self._body = Body(0, anchors)
        self._level = JitterLevel(count)
        channels = [HEAD, HEAD, *kinds]
        strengths = np.array([settings.of(HEAD)] * 2 + [settings.of(part) for part in query.parts])
        members = np.array([0, 1, *(_members(query) + 2)])
        density = np.array([_DENSITY.get(kind, _DEFAULT_DENSITY) for kind in channels])
        agility_gain = np.array([_AGILITY_GAIN.get(kind, 1.0) for kind in channels])
        traits = Traits(members, density, strengths, agility_gain)
        self._filters: list[ChannelFilter]
        """One for all channels; or one for the head and one for the parts, if these are relative to the filtered head."""
        self._filters = (
            [method.load()(traits[some], 0) for some in (_HEAD, _PARTS)]
            if method.online
            else [method.load()(traits, lag)]
        )
        self._sizes: FloatArray = np.ones(0)
        self._measured_head: ComplexArray = np.zeros((0, 2), np.complex128)
        self._jitter: FloatArray = np.zeros((0, count))
        self._pending: deque[tuple[FloatArray, ComplexArray]] = deque()

    @property
    def tracks(self) -> int:
        """Number of tracks that there is room for."""
        return len(self._sizes)

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        extra = tracks - self.tracks
        self._body.grow(tracks)
        self._level.grow(tracks)
        for each in self._filters:
            each.grow(tracks)
        self._sizes = np.concatenate([self._sizes, np.ones(extra)])
        self._measured_head = np.concatenate([self._measured_head, np.full((extra, 2), np.nan)])
        self._jitter = np.concatenate([self._jitter, np.full((extra, self._jitter.shape[1]), np.nan)])

    def reset(self, tracks: list[int]) -> None:
        """Forget these tracks."""
        indices = np.asarray(tracks, np.intp)
        self._level.reset(indices)
        for each in self._filters:
            each.reset(indices)

    def step(self, points: FloatArray, sigma: FloatArray, dt: float) -> list[FilteredPoints]:
        """Filter the points of the next frame.

        Args:
            points: (tracks, points, 2) in pixels; NaN where unmeasured.
            sigma: (tracks, points) in pixels; NaN where unmeasured.
            dt: Seconds since the last frame.

        Returns:
            The frames that are ready: this one, or without lag the one `lag` frames ago, if there is one.
        """
        # Points with a small sigma jitter nearly as much as those with a large one, which are only more often wrong.
        known = np.isfinite(sigma)
        typical = known_median(sigma if all_true(known) else np.where(known.any(1, keepdims=True), sigma, 1.0))
        jitter = np.sqrt(sigma * typical) * _JITTER * self._level.factor[:, None]
        numbers = to_complex(points)
        predicted = self._filters[-1].predicted(dt)[:, -points.shape[1] :]
        parts, shift, turn = self._body.split(numbers, jitter, predicted)
        measured, pose = np.isfinite(turn), np.stack([shift, turn], 1)
        if all_true(measured):
            self._sizes, self._measured_head = np.abs(turn), pose
        else:
            self._sizes = np.where(measured, np.abs(turn), self._sizes)
            self._measured_head = np.where(measured[:, None], pose, self._measured_head)
        size, squares = self._sizes[:, None], np.square(jitter[:, self._body.anchors])
        head_jitter = np.sqrt(squares.sum(1, keepdims=True) / squares.shape[1]) * (_HEAD_JITTER / _JITTER)
        jitter_variance = np.square(jitter) + np.square(head_jitter) * (1 + np.square(np.abs(parts)))
        finite = np.isfinite(jitter_variance)
        self._jitter = jitter_variance if all_true(finite) else np.where(finite, jitter_variance, self._jitter)
        self._pending.append((self._jitter, self._measured_head))
        noise, head_noise = np.square(jitter / size), np.square(head_jitter)
        self._level.learn(to_plane(parts), noise, dt)
        if not self._causal:
            channels, noises = np.concatenate([pose, parts], 1), np.concatenate([head_noise, head_noise, noise], 1)
            units = np.concatenate([size, size, np.ones_like(noise)], 1)
            return [self._combine(state) for state in self._filters[0].step(to_plane(channels), noises, units, dt)]
        heads = self._filters[0].step(to_plane(pose), head_noise, size, dt)[0]
        # Parts relative to the filtered head: they correct at once a head that lags, or that followed an opening mouth.
        head = to_complex(heads[0])
        parts = (numbers - head[:, :1]) / head[:, 1:]
        noise = jitter_variance / np.square(size)
        states = self._filters[1].step(to_plane(parts), noise, np.ones_like(size), dt)[0]
        return [self._combine((np.concatenate([a, b], 1) for a, b in zip(heads, states, strict=True)))]

    def flush(self) -> list[FilteredPoints]:
        """Return the frames that are still held back, oldest first."""
        return [self._combine(state) for state in self._filters[0].flush()]

    def _combine(self, state: Iterable[FloatArray]) -> FilteredPoints:
        """Combine parts and head to points."""
        jitter, last = self._pending.popleft()
        # Tracks that are newer than this frame are left out.
        positions, variance = (array[: len(jitter)] for array in state)
        numbers, (shift, turn) = to_complex(positions), to_complex(positions[:, _HEAD]).T[..., None]
        parts, head_variance = numbers[:, _PARTS], variance[:, _HEAD]
        remaining = (
            variance[:, _PARTS] * np.square(np.abs(turn))
            + head_variance[:, :1]
            + head_variance[:, 1:] * np.square(np.abs(parts))
        )
        return FilteredPoints(to_plane(shift + turn * parts), jitter, remaining, numbers[:, _HEAD], last)


def _kind(part: str) -> str:
    """Return the group of parts whose motion model a part has; the part itself if there is none."""
    return next((kind for kind in ("eyes", "lips", "brows", "pupils") if part in GROUPS[kind]), part)


def _members(query: Query) -> npt.NDArray[np.intp]:
    """Return the number (points,) of the group that each point moves with: its part, with both lips as one group."""
    names = ["lips" if part in GROUPS["lips"] else part for part in query.parts]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names])
