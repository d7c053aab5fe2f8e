"""Steady points: the motion of the head and the motion of the parts on it, each filtered in its own way.

All lengths are in units of the face, the root mean square distance of its anchors from their middle (about 0.7 of the
distance between the outer corners of the eyes), so a setting means the same on a small face and on a large one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.filters.kalman import Groups, Kalman, Step
from vtrack.filters.one_euro import OneEuro
from vtrack.filters.rigid import Body, ComplexArray, known_median, to_complex, to_plane
from vtrack.filters.rts import Smoothed
from vtrack.filters.zero_lag import ZeroLag
from vtrack.parts import GROUPS
from vtrack.pipelines.registry import HEAD, METHODS
from vtrack.pipelines.settings import Smoothing
from vtrack.types import FloatArray, Query

LAG = 300
"""Frames that zero-lag smoothing looks ahead. What comes later moves a point by less than 0.001 pixels once a filter has
settled, on a face with 100 pixels between the outer corners of the eyes."""
_BLOCKS = 16
"""Frames are given back in blocks of this part of the look ahead: the way back is chained block by block."""
_FORESIGHT = 3
"""Frames that the causal scout of zero-lag smoothing is ahead."""
_HEAD, _PARTS = slice(0, 2), slice(2, None)
"""Places of the channels: shift and turn of the head, then the parts."""

# How the constants were found. The likelihood of innovations was scanned over seven powers of ten of density on two real
# clips (`webcam-man`, `expressions-audio`, an early model), with agility at work. It decides little: for parts it is
# nearly flat, for the head's shift it prefers some 10 ** 4 times as much as stands here. The annotated video frames at
# hand (`ytf68`) are a dozen unordered frames a person, without times, so they tell nothing about motion. So these are not
# estimates of maximum likelihood: they were chosen by hand on `vtrack bench --smooth`, for jitter, blinks, lag and error
# together, and `_BEYOND` also on how calm the real clips became. On six seeds RTS cuts jitter 5.3 times and keeps 99 % of a
# blink; Kalman cuts it 3.1 times (2.9 to 3.2), and is nearer to the truth than raw points on each of 30 clips.
_DENSITY = {"eyes": 4e-6, "lips": 4e-6, "brows": 2e-6, "pupils": 2e-5, HEAD: 6e-5}
"""Noise of motion, in squared face units per cubed second ..."""
_DENSITY_ELSEWHERE = 1e-6
_CAUSAL = 0.02
"""... of which a filter that has no future to lean on takes so much, and leans on the past the more."""
_JITTER, _HEAD_JITTER = 0.20, 0.12
"""First guess of the trembling from frame to frame, of points and of the whole head, over sigma, which is the whole
error: measured 0.13 to 0.20 and 0.06 to 0.09 on calm clips. What is learnt on the way corrects both."""
_LEARNING, _BEYOND, _LEVELS = 2.0, 0.2, (0.25, 4.0)
"""How fast the level of the jitter is learnt, per second; share of points above what is expected; limits."""
_ALARM, _HOLD = 5e-4, 0.06
"""See `vtrack.filters.kalman.Groups`."""
_ZEAL = {"eyes": 4.0}
"""A blink turns round within a frame or two, by less than would stand out: eyes that move at all are followed closely."""
_GATE, _PATIENCE = 8.0, 2
"""Standard deviations beyond which a point alone is an outlier, and for how many frames."""
_SPEED = 0.5
"""Standard deviation of the speed of a point that is new, in face units per second."""
_DECADES = 16.0
"""Powers of ten of process noise between strength 0 and 1."""
_CUTOFF, _BETA = 1.0, 20.0
"""One-Euro: cutoff at rest in Hz, and what it gains per face unit per second."""


@dataclass(frozen=True, eq=False, slots=True)
class Moment:
    """The faces of one frame, steadied. A track that has none yet is NaN throughout."""

    points: FloatArray
    """(tracks, points, 2) in pixels."""
    noise: FloatArray
    """(tracks, points) variance of the jitter of the last measured points, in square pixels."""
    rest: FloatArray
    """(tracks, points) what the filter left of it, or added where nothing was measured."""
    place: ComplexArray
    """(tracks, 2) shift and turn of the head."""
    last_place: ComplexArray
    """(tracks, 2) the same as last measured."""

    def carry(self, track: int, points: FloatArray) -> FloatArray:
        """(n, 2) points of the last measured frame to where the head has them now."""
        (shift, turn), (last_shift, last_turn) = self.place[track], self.last_place[track]
        return to_plane(shift + turn * (to_complex(points) - last_shift) / last_turn)


class Steady:
    """Steadies (tracks, points) positions, one moment after the other."""

    def __init__(self, query: Query, anchors: npt.NDArray[np.intp], settings: Smoothing, *, lag: int = LAG) -> None:
        """`query` names the part of each point, `anchors` are the places of the points that tell the head's motion."""
        count = len(query)
        kinds = [_kind(part) for part in query.parts]
        self._causal = METHODS[settings.mode].online
        self._body = Body(0, anchors)
        self._level = _Level(count)
        channels = [HEAD, HEAD, *kinds]
        strengths = np.array([settings.of(HEAD)] * 2 + [settings.of(part) for part in query.parts])
        members = np.array([0, 1, *(_members(query) + 2)])
        density = np.array([_DENSITY.get(kind, _DENSITY_ELSEWHERE) for kind in channels])
        zeal = np.array([_ZEAL.get(kind, 1.0) for kind in channels])
        self._filters: list[_Kalman | _OneEuro]
        """One of all channels, or where the parts depend on the head as filtered, one of the head and one of the parts."""
        if settings.mode == "one-euro":
            self._filters = [_OneEuro(strengths[some]) for some in (_HEAD, _PARTS)]
        elif self._causal:
            self._filters = [
                _Kalman(members[some] - members[some].min(), density[some], strengths[some], zeal[some], 0)
                for some in (_HEAD, _PARTS)
            ]
        else:
            self._filters = [_Kalman(members, density, strengths, zeal, lag)]
        self._size = np.ones(0)
        self._last = np.zeros((0, 2), np.complex128)
        self._noise = np.zeros((0, count))
        self._held: deque[tuple[FloatArray, ComplexArray]] = deque()

    @property
    def tracks(self) -> int:
        """How many tracks there is room for."""
        return len(self._size)

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        extra = tracks - self.tracks
        for part in (self._body, self._level, *self._filters):
            part.grow(tracks)
        self._size = np.concatenate([self._size, np.ones(extra)])
        self._last = np.concatenate([self._last, np.full((extra, 2), np.nan)])
        self._noise = np.concatenate([self._noise, np.full((extra, self._noise.shape[1]), np.nan)])

    def reset(self, tracks: list[int]) -> None:
        """Forget these tracks."""
        for part in (self._level, *self._filters):
            part.reset(np.asarray(tracks, np.intp))

    def step(self, points: FloatArray, sigma: FloatArray, dt: float) -> list[Moment]:
        """Take the points (tracks, points, 2) and sigma (tracks, points) in pixels of the next frame, NaN where unmeasured.

        Returns the moments that are ready: this one, or with zero lag the one `lag` steps ago, if there is one.
        """
        # Sure points tremble nearly as much as unsure ones, which are only more often wrong.
        typical = known_median(np.where(np.isfinite(sigma).any(1, keepdims=True), sigma, 1.0))
        jitter = np.sqrt(sigma * typical) * _JITTER * self._level.factor[:, None]
        numbers = to_complex(points)
        expected = self._filters[-1].expected(dt)[:, -points.shape[1] :]
        parts, shift, turn = self._body.split(numbers, jitter, expected)
        measured, place = np.isfinite(turn), np.stack([shift, turn], 1)
        self._size = np.where(measured, np.abs(turn), self._size)
        self._last = np.where(measured[:, None], place, self._last)
        size = self._size[:, None]
        head = np.sqrt(np.square(jitter[:, self._body.anchors]).mean(1, keepdims=True)) * (_HEAD_JITTER / _JITTER)
        measured_noise = np.square(jitter) + np.square(head) * (1 + np.square(np.abs(parts)))
        self._noise = np.where(np.isfinite(measured_noise), measured_noise, self._noise)
        self._held.append((self._noise, self._last))
        noise, head_noise = np.square(jitter / size), np.broadcast_to(np.square(head), place.shape)
        self._level.learn(to_plane(parts), noise, dt)
        if not self._causal:
            channels, noises = np.concatenate([place, parts], 1), np.concatenate([head_noise, noise], 1)
            units = np.concatenate([np.broadcast_to(size, place.shape), np.ones_like(noise)], 1)
            return [self._moment(state) for state in self._filters[0].step(to_plane(channels), noises, units, dt)]
        heads = self._filters[0].step(to_plane(place), head_noise, size, dt)[0]
        # Where the head is seen late, or a mouth that opens was taken for it, the parts make up for it at once.
        steady = to_complex(heads[0])
        parts = (numbers - steady[:, :1]) / steady[:, 1:]
        noise = measured_noise / np.square(size)
        steadied = self._filters[1].step(to_plane(parts), noise, np.ones_like(size), dt)[0]
        return [self._moment((np.concatenate([a, b], 1) for a, b in zip(heads, steadied, strict=True)))]

    def flush(self) -> list[Moment]:
        """The moments that are still held back, oldest first."""
        return [self._moment(state) for state in self._filters[0].flush()]

    def _moment(self, state: Iterable[FloatArray]) -> Moment:
        """Parts and head put together again."""
        noise, last = self._held.popleft()
        # Tracks that came after this moment are no part of it.
        positions, variance = (array[: len(noise)] for array in state)
        numbers, (shift, turn) = to_complex(positions), to_complex(positions[:, _HEAD]).T[..., None]
        parts, doubt = numbers[:, _PARTS], variance[:, _HEAD]
        rest = variance[:, _PARTS] * np.square(np.abs(turn)) + doubt[:, :1] + doubt[:, 1:] * np.square(np.abs(parts))
        return Moment(to_plane(shift + turn * parts), noise, rest, numbers[:, _HEAD], last)


_State = tuple[FloatArray, FloatArray]
"""Positions (tracks, channels, 2) and variances (tracks, channels), NaN where nothing was measured yet."""


class _Kalman:
    """Some channels of `Steady` (parts, or shift and turn) through the Kalman filter, at once or with zero lag."""

    def __init__(
        self,
        members: npt.NDArray[np.intp],
        density: FloatArray,
        strengths: FloatArray,
        zeal: FloatArray,
        lag: int,
    ) -> None:
        count = len(members)
        groups = Groups(members, alarm=_ALARM, hold=_HOLD, zeal=zeal)
        self._density = density * 10 ** (_DECADES * (0.5 - strengths)) * (1.0 if lag else _CAUSAL)
        self._zero_lag = (
            ZeroLag(
                0,
                count,
                groups=groups,
                gate=_GATE,
                patience=_PATIENCE,
                lag=lag,
                block=lag // _BLOCKS + 1,
                foresight=_FORESIGHT,
            )
            if lag
            else None
        )
        self._kalman = (
            self._zero_lag.scout if self._zero_lag else Kalman(0, count, groups=groups, gate=_GATE, patience=_PATIENCE)
        )

    def grow(self, tracks: int) -> None:
        (self._zero_lag or self._kalman).grow(tracks)

    def reset(self, tracks: npt.NDArray[np.intp]) -> None:
        (self._zero_lag or self._kalman).reset(tracks)

    def expected(self, dt: float) -> ComplexArray:
        """(tracks, channels) where the channels are expected `dt` later, NaN where nothing is."""
        mean = self._kalman.mean
        return np.where(self._kalman.alive, to_complex(mean[..., 0, :] + dt * mean[..., 1, :]), np.nan)

    def step(self, channels: FloatArray, noise: FloatArray, unit: FloatArray, dt: float) -> list[_State]:
        """Channels (tracks, channels, 2) with noise (tracks, channels or 1); `unit` (tracks, 1) is the length of 1."""
        shape = channels.shape[:2]
        given = (
            channels,
            np.broadcast_to(noise, shape),
            self._density * np.square(unit),
            dt,
            np.broadcast_to(_SPEED * unit, shape),
        )
        ready = self._zero_lag.step(*given) if self._zero_lag else [self._kalman.step(*given)]
        return [_state(one) for one in ready]

    def flush(self) -> list[_State]:
        return [_state(one) for one in self._zero_lag.flush()] if self._zero_lag else []


class _Level:
    """How much stronger the jitter is than sigma says, learnt on the way."""

    def __init__(self, points: int) -> None:
        self.factor = np.ones(0)
        """(tracks,)."""
        self._past: list[tuple[FloatArray, float]] = [(np.zeros((0, points, 2)), 0.0)] * 2
        """Parts and time steps of the last two moments."""

    def grow(self, tracks: int) -> None:
        extra = tracks - len(self.factor)
        self.factor = np.concatenate([self.factor, np.ones(extra)])
        self._past = [
            (np.concatenate([parts, np.full((extra, *parts.shape[1:]), np.nan)]), dt) for parts, dt in self._past
        ]

    def reset(self, tracks: npt.NDArray[np.intp]) -> None:
        self.factor[tracks] = 1.0
        for parts, _ in self._past:
            parts[tracks] = np.nan

    def learn(self, parts: FloatArray, noise: FloatArray, dt: float) -> None:
        """See that four in five points lie as near to the middle of their neighbours in time as their noise lets expect.

        This says nothing of what the filter makes of them, so that the two cannot drive each other on, and it does not
        mind the few that move.
        """
        (first, _), (middle, before) = self._past
        self._past = [self._past[1], (parts, dt)]
        if before <= 0 or dt <= 0:
            return
        share = before / (before + dt)  # of the last in what is expected of the middle
        bend = np.square(middle - (1 - share) * first - share * parts).sum(-1) / 2
        expected = noise * (1 + share**2 + (1 - share) ** 2)
        known = np.isfinite(bend)
        beyond = (known & (bend > np.log(1 / _BEYOND) * expected)).sum(1) / np.maximum(known.sum(1), 1)
        above = np.where(known.any(1), beyond - _BEYOND, 0.0)
        self.factor = np.clip(self.factor * np.exp(_LEARNING * dt * above), *_LEVELS)


def _state(step: Step | Smoothed) -> _State:
    positions = np.where(step.alive[..., None], step.mean[..., 0, :], np.nan)
    return positions, np.where(step.alive, step.covariance[..., 0, 0], np.nan)


class _OneEuro:
    """Some channels of `Steady` through the One-Euro filter."""

    def __init__(self, strengths: FloatArray) -> None:
        self._filter = OneEuro(0, len(strengths))
        self._cutoff = _CUTOFF * 10 ** (_DECADES / 10 * (0.5 - strengths))

    def grow(self, tracks: int) -> None:
        self._filter.grow(tracks)

    def reset(self, tracks: npt.NDArray[np.intp]) -> None:
        self._filter.reset(tracks)

    def expected(self, dt: float) -> ComplexArray:
        """(tracks, channels) where the channels were last, NaN where nothing was."""
        return to_complex(self._filter.positions)

    def step(self, channels: FloatArray, noise: FloatArray, unit: FloatArray, dt: float) -> list[_State]:
        """As of `_Kalman`."""
        # The size of the face changes from frame to frame, so speeds are compared in its units but kept in pixels.
        noise = np.broadcast_to(np.where(np.isfinite(noise), noise, 0.0), channels.shape[:2])
        return [(self._filter.step(channels, self._cutoff, _BETA / unit, dt), noise)]

    def flush(self) -> list[_State]:
        return []


def look_ahead(room: int) -> int:
    """Frames to look ahead when `room` frames may be held: a block of them and the scout's are held beside."""
    return min(LAG, (room - _FORESIGHT - 1) * _BLOCKS // (_BLOCKS + 1))


def _kind(part: str) -> str:
    """The group that tells how a part moves."""
    return next((kind for kind in ("eyes", "lips", "brows", "pupils") if part in GROUPS[kind]), part)


def _members(query: Query) -> npt.NDArray[np.intp]:
    """(points,) number of the group that each point moves with: its part, both lips as one."""
    names = ["lips" if part in GROUPS["lips"] else part for part in query.parts]
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([known[name] for name in names])
