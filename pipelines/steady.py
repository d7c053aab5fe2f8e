"""Steady points: the motion of the head and the motion of the parts on it, each filtered in its own way.

All lengths are in units of the face, the root mean square distance of its anchors from their middle (about 0.7 of the
distance between the outer corners of the eyes), so a setting means the same on a small face and on a large one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from filters.kalman import Groups, Kalman, Step
from filters.one_euro import OneEuro
from filters.rigid import Body, ComplexArray, known_median, to_complex, to_plane
from filters.rts import Smoothed
from filters.zero_lag import ZeroLag
from vtrack.errors import UsageError
from vtrack.parts import GROUPS, PARTS, nearest
from vtrack.types import FloatArray, Query

MODES = ("rts", "kalman", "one-euro", "none")
HEAD = "head"
"""The name under which the motion of the whole head has a strength of its own."""

LAG = 300
"""Frames that zero-lag smoothing looks ahead. What comes later moves a point by less than 0.001 pixels once a filter has
settled, on a face with 100 pixels between the outer corners of the eyes."""
BLOCK = 16
"""Frames that it gives back at once."""

# How the constants were found. The likelihood of innovations was scanned over seven powers of ten of density on two real
# clips (`webcam-man`, `expressions-audio`, early `fast` model), with agility at work. It decides little: for parts it is
# nearly flat, for the head's shift it prefers some 10 ** 4 times as much as stands here. So these are not estimates of
# maximum likelihood: they were chosen by hand on `pipelines.smooth_bench`, for jitter, blinks, lag and error together,
# and `_BEYOND` also on how calm the real clips became. On six seeds not used for that, RTS cuts jitter 5.2 times (4.8 to
# 6.2) and keeps 99.5 % of a blink; Kalman cuts it 3.2 times and is up to 2 % worse than raw on 5 of 30 clips in motion.
_DENSITY = {"eyes": 4e-6, "lips": 4e-6, "brows": 2e-6, "pupils": 2e-5, HEAD: 6e-5}
"""Noise of motion, in squared face units per cubed second ..."""
_DENSITY_ELSEWHERE = 1e-6
_CAUSAL = 0.03
"""... of which a filter that has no future to lean on takes so much, and leans on the past the more."""
_JITTER, _HEAD_JITTER = 0.20, 0.12
"""First guess of the trembling from frame to frame, of points and of the whole head, over sigma, which is the whole
error: measured 0.13 to 0.20 and 0.06 to 0.09 on calm clips. What is learnt on the way corrects both."""
_LEARNING, _BEYOND, _LEVELS = 2.0, 0.2, (0.25, 4.0)
"""How fast the level of the jitter is learnt, per second; share of points above what is expected; limits."""
_ALARM, _HOLD = 1e-3, 0.06
"""See `filters.kalman.Groups`."""
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


@dataclass(frozen=True)
class Smoothing:
    """What kind of smoothing, and how much: the checked form of `--smooth MODE --smooth.strength X --smooth.eyes Y`."""

    mode: str = "rts"
    strength: float = 0.5
    """0 hardly any, 0.5 the default, 1 very much."""
    per_part: Mapping[str, float] = field(default_factory=dict)
    """Strength of single parts, groups of parts, or the motion of the `head`; a part's own goes before its group's."""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UsageError(f"there is no smoothing called {self.mode!r}; choose one of {', '.join(MODES)}")
        for name, strength in (("strength", self.strength), *self.per_part.items()):
            if not 0.0 <= strength <= 1.0:
                raise UsageError(f"smoothing: {name} must lie in 0 (hardly any) to 1 (very much), got {strength}")
        for name in self.per_part:
            if name not in (HEAD, *GROUPS, *PARTS):
                raise UsageError(f"smoothing: no part is called {name!r}; {nearest(name, (HEAD, *GROUPS, *PARTS))}")

    def of(self, part: str) -> float:
        """Strength for one part, or for the `head`."""
        if part in self.per_part:
            return self.per_part[part]
        groups = [name for name in self.per_part if part in GROUPS.get(name, ())]
        return self.per_part[min(groups, key=lambda name: len(GROUPS[name]))] if groups else self.strength


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
        self._body = Body(0, anchors)
        strengths = np.array([*(settings.of(part) for part in query.parts), *[settings.of(HEAD)] * 2])
        self._filter: _Kalman | _OneEuro
        if settings.mode == "one-euro":
            self._filter = _OneEuro(count, strengths)
        else:
            density = np.array([*(_DENSITY.get(kind, _DENSITY_ELSEWHERE) for kind in kinds), *[_DENSITY[HEAD]] * 2])
            density *= 10 ** (_DECADES * (0.5 - strengths))
            lag = lag if settings.mode == "rts" else 0
            zeal = np.array([_ZEAL.get(kind, 1.0) for kind in (*kinds, HEAD, HEAD)])
            groups = Groups(_members(query), alarm=_ALARM, hold=_HOLD, zeal=zeal)
            self._filter = _Kalman(groups, density if lag else density * _CAUSAL, lag)
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
        self._body.grow(tracks)
        self._filter.grow(tracks)
        self._size = np.concatenate([self._size, np.ones(extra)])
        self._last = np.concatenate([self._last, np.full((extra, 2), np.nan)])
        self._noise = np.concatenate([self._noise, np.full((extra, self._noise.shape[1]), np.nan)])

    def reset(self, tracks: list[int]) -> None:
        """Forget these tracks."""
        self._filter.reset(tracks)

    def step(self, points: FloatArray, sigma: FloatArray, dt: float) -> list[Moment]:
        """Take the points (tracks, points, 2) and sigma (tracks, points) in pixels of the next frame, NaN where unmeasured.

        Returns the moments that are ready: this one, or with zero lag the one `lag` steps ago, if there is one.
        """
        # Sure points tremble nearly as much as unsure ones, which are only more often wrong.
        typical = known_median(np.where(np.isfinite(sigma).any(1, keepdims=True), sigma, 1.0))
        jitter = np.sqrt(sigma * typical) * _JITTER * self._filter.level[:, None]
        parts, shift, turn = self._body.split(to_complex(points), jitter, self._filter.expected(dt)[:, :-2])
        measured = np.isfinite(turn)
        self._size = np.where(measured, np.abs(turn), self._size)
        self._last = np.where(measured[:, None], np.stack([shift, turn], 1), self._last)
        size = self._size[:, None]
        head = np.sqrt(np.square(jitter[:, self._body.anchors]).mean(1, keepdims=True)) * (_HEAD_JITTER / _JITTER)
        channels = to_plane(np.concatenate([parts, shift[:, None], turn[:, None]], 1))
        noise = np.square(np.concatenate([jitter / size, head, head], 1))
        units = np.concatenate([np.ones_like(parts, np.float64), size, size], 1)
        measured_noise = np.square(jitter) + np.square(head) * (1 + np.square(np.abs(parts)))
        self._noise = np.where(np.isfinite(measured_noise), measured_noise, self._noise)
        self._held.append((self._noise, self._last))
        return [self._moment(*state) for state in self._filter.step(channels, noise, units, dt)]

    def flush(self) -> list[Moment]:
        """The moments that are still held back, oldest first."""
        return [self._moment(*state) for state in self._filter.flush()]

    def _moment(self, positions: FloatArray, variances: FloatArray) -> Moment:
        """Parts and head put together again; `variances` (tracks, points + 2)."""
        noise, last = self._held.popleft()
        # Tracks that came after this moment are no part of it.
        numbers, variances = to_complex(positions[: len(noise)]), variances[: len(noise)]
        parts, place = numbers[:, :-2], numbers[:, -2:]
        shift, turn = place[:, :1], place[:, 1:]
        rest = (
            variances[:, :-2] * np.square(np.abs(turn))
            + variances[:, -2:-1]
            + variances[:, -1:] * np.square(np.abs(parts))
        )
        return Moment(to_plane(shift + turn * parts), noise, rest, place, last)


class _Kalman:
    """The channels of `Steady` (parts, then shift and turn) through the Kalman filter, at once or with zero lag."""

    def __init__(self, groups: Groups, density: FloatArray, lag: int) -> None:
        count = len(groups.members)
        self._density = density
        self._zero_lag = (
            ZeroLag(0, count, groups=groups, gate=_GATE, patience=_PATIENCE, lag=lag, block=BLOCK) if lag else None
        )
        self._kalman = (
            self._zero_lag.scout if self._zero_lag else Kalman(0, count, groups=groups, gate=_GATE, patience=_PATIENCE)
        )
        self.level = np.ones(0)
        """(tracks,) how much stronger the jitter is than sigma says, learnt on the way."""
        self._past: list[tuple[FloatArray, float]] = [
            (np.zeros((0, count - 2, 2)), 0.0)
        ] * 2  # parts and time steps of the last two moments

    def grow(self, tracks: int) -> None:
        (self._zero_lag or self._kalman).grow(tracks)
        extra = tracks - len(self.level)
        self.level = np.concatenate([self.level, np.ones(extra)])
        self._past = [
            (np.concatenate([parts, np.full((extra, *parts.shape[1:]), np.nan)]), dt) for parts, dt in self._past
        ]

    def reset(self, tracks: list[int]) -> None:
        (self._zero_lag or self._kalman).reset(np.asarray(tracks, np.intp))
        self.level[tracks] = 1.0
        for parts, _ in self._past:
            parts[tracks] = np.nan

    def expected(self, dt: float) -> ComplexArray:
        """(tracks, channels) where the channels are expected `dt` later, NaN where nothing is."""
        mean = self._kalman.mean
        return np.where(self._kalman.alive, to_complex(mean[..., 0, :] + dt * mean[..., 1, :]), np.nan)

    def step(
        self, channels: FloatArray, noise: FloatArray, units: FloatArray, dt: float
    ) -> list[tuple[FloatArray, FloatArray]]:
        given = (channels, noise, self._density * np.square(units), dt, _SPEED * units)
        self._learn(channels, noise, dt)
        ready = self._zero_lag.step(*given) if self._zero_lag else [self._kalman.step(*given)]
        return [_state(one) for one in ready]

    def flush(self) -> list[tuple[FloatArray, FloatArray]]:
        return [_state(one) for one in self._zero_lag.flush()] if self._zero_lag else []

    def _learn(self, channels: FloatArray, noise: FloatArray, dt: float) -> None:
        """See that four in five points lie as near to the middle of their neighbours in time as their noise lets expect.

        This says nothing of what the filter makes of them, so that the two cannot drive each other on, and it does not
        mind the few that move.
        """
        (first, _), (middle, before) = self._past
        self._past = [self._past[1], (channels[:, :-2], dt)]
        if before <= 0 or dt <= 0:
            return
        share = before / (before + dt)  # of the last in what is expected of the middle
        bend = np.square(middle - (1 - share) * first - share * channels[:, :-2]).sum(-1) / 2
        expected = noise[:, :-2] * (1 + share**2 + (1 - share) ** 2)
        known = np.isfinite(bend)
        beyond = (known & (bend > np.log(1 / _BEYOND) * expected)).sum(1) / np.maximum(known.sum(1), 1)
        above = np.where(known.any(1), beyond - _BEYOND, 0.0)
        self.level = np.clip(self.level * np.exp(_LEARNING * dt * above), *_LEVELS)


def _state(step: Step | Smoothed) -> tuple[FloatArray, FloatArray]:
    """Positions (tracks, channels, 2) and variances (tracks, channels), NaN where nothing was measured yet."""
    positions = np.where(step.alive[..., None], step.mean[..., 0, :], np.nan)
    return positions, np.where(step.alive, step.covariance[..., 0, 0], np.nan)


class _OneEuro:
    """The channels of `Steady` through the One-Euro filter."""

    def __init__(self, points: int, strengths: FloatArray) -> None:
        self._filter = OneEuro(0, points + 2)
        self._cutoff = _CUTOFF * 10 ** (_DECADES / 10 * (0.5 - strengths))
        self.level = np.ones(0)

    def grow(self, tracks: int) -> None:
        self._filter.grow(tracks)
        self.level = np.ones(tracks)

    def reset(self, tracks: list[int]) -> None:
        self._filter.reset(np.asarray(tracks))

    def expected(self, dt: float) -> ComplexArray:
        """(tracks, channels) where the channels were last, NaN where nothing was."""
        return to_complex(self._filter.positions)

    def step(
        self, channels: FloatArray, noise: FloatArray, units: FloatArray, dt: float
    ) -> list[tuple[FloatArray, FloatArray]]:
        # The size of the face changes from frame to frame, so speeds are compared in its units but kept in pixels.
        return [
            (self._filter.step(channels, self._cutoff, _BETA / units, dt), np.where(np.isfinite(noise), noise, 0.0))
        ]

    def flush(self) -> list[tuple[FloatArray, FloatArray]]:
        return []


def _kind(part: str) -> str:
    """The group that tells how a part moves."""
    return next((kind for kind in ("eyes", "lips", "brows", "pupils") if part in GROUPS[kind]), part)


def _members(query: Query) -> npt.NDArray[np.intp]:
    """(points + 2,) number of the group that each channel moves with: its part, both lips as one; shift and turn alone."""
    names = ["lips" if part in GROUPS["lips"] else part for part in query.parts]
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([*(known[name] for name in names), len(known), len(known) + 1])
