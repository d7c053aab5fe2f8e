"""Steady points: the motion of the head and the motion of the parts on it, each filtered in its own way.

All lengths are in units of the face, the root mean square distance of its anchors from their middle (about 0.75 of the
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
from filters.rigid import Body, ComplexArray, to_complex, to_plane
from filters.rts import FixedLag
from vtrack.errors import UsageError
from vtrack.parts import GROUPS, PARTS, nearest
from vtrack.types import FloatArray, Query

MODES = ("rts", "kalman", "one-euro", "none")
HEAD = "head"
"""The name under which the motion of the whole head has a strength of its own."""

LAG = 60
"""Frames that zero-lag smoothing looks ahead."""
BLOCK = 8
"""Frames that it gives back at once."""

# CONSTANTS
_DENSITY = {"eyes": 2e-6, "lips": 2e-6, "brows": 1e-6, "pupils": 1e-5, HEAD: 3e-5}
_DENSITY_ELSEWHERE = 5e-7
_CAUSAL = 0.1
_JITTER, _HEAD_JITTER = 0.38, 0.22
_LEARNING, _LEVELS = 3.0, (0.25, 4.0)
_CALM, _HOLD = 4.0, 0.1
_GATE, _PATIENCE = 8.0, 2
_SPEED = 0.5
_DECADES = 12.0
_CUTOFF, _BETA = 1.0, 20.0


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
            self._filter = _Kalman(_members(query), density if lag else density * _CAUSAL, lag)
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
        jitter = sigma * _JITTER * self._filter.level[:, None]
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
    """The channels of `Steady` (parts, then shift and turn) through the Kalman filter, and back again if there is lag."""

    def __init__(self, members: npt.NDArray[np.intp], density: FloatArray, lag: int) -> None:
        self._kalman = Kalman(0, len(members), groups=Groups(members, _CALM, _HOLD), gate=_GATE, patience=_PATIENCE)
        self._density = density
        self._fixed = FixedLag(lag, BLOCK if lag else 1)
        self.level = np.ones(0)
        """(tracks,) how much stronger the jitter is than sigma says, learnt on the way."""

    def grow(self, tracks: int) -> None:
        self._kalman.grow(tracks)
        self.level = np.concatenate([self.level, np.ones(tracks - len(self.level))])

    def reset(self, tracks: list[int]) -> None:
        self._kalman.reset(np.asarray(tracks))
        self.level[tracks] = 1.0

    def expected(self, dt: float) -> ComplexArray:
        """(tracks, channels) where the channels are expected `dt` later, NaN where nothing is."""
        mean = self._kalman.mean
        return np.where(self._kalman.alive, to_complex(mean[..., 0, :] + dt * mean[..., 1, :]), np.nan)

    def step(
        self, channels: FloatArray, noise: FloatArray, units: FloatArray, dt: float
    ) -> list[tuple[FloatArray, FloatArray]]:
        step = self._kalman.step(channels, noise, self._density * np.square(units), dt, _SPEED * units)
        self._learn(step, channels, noise, dt)
        return [(state.positions, state.variances) for state in self._fixed.push(step)]

    def flush(self) -> list[tuple[FloatArray, FloatArray]]:
        return [(state.positions, state.variances) for state in self._fixed.flush()]

    def _learn(self, step: Step, channels: FloatArray, noise: FloatArray, dt: float) -> None:
        """Half of the parts' innovations should be less than the median that their variance promises: see that they are.

        Medians over all points and some time do not mind what moves.
        """
        squared = np.square(channels - step.prior_mean[..., 0, :]).sum(-1)[:, :-2] / 2
        expected = (step.prior_covariance[..., 0, 0] + noise)[:, :-2]
        known = step.continued[:, :-2] & np.isfinite(squared)
        above = (known & (squared > np.log(2) * expected)).sum(1) - known.sum(1) / 2
        self.level = np.clip(self.level * np.exp(_LEARNING * dt * above / np.maximum(known.sum(1), 1)), *_LEVELS)


class _OneEuro:
    """The channels of `Steady` through the One-Euro filter."""

    def __init__(self, points: int, strengths: FloatArray) -> None:
        self._filter = OneEuro(0, points + 2)
        self._cutoff = _CUTOFF * 10 ** (_DECADES / 8 * (0.5 - strengths))
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
