"""Zero-lag smoothing of a stream: a filter that knows of motion in advance, then a smoother.

A causal filter notices motion after it has started, and the smoother would spread its start over the rest before. So a
scout, a causal filter, runs ahead and measures the agility of groups. The main filter follows `foresight` steps later and
is agile that much earlier.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import exp

import numpy as np
import numpy.typing as npt

from vtrack.filters.kalman import Groups, Kalman
from vtrack.filters.motion import bounded_step
from vtrack.filters.rts import FixedLag, Smoothed
from vtrack.types import FloatArray


@dataclass(frozen=True, eq=False, slots=True)
class _StepInputs:
    """Inputs of one step, and the scout's agility in it."""

    positions: FloatArray
    variance: FloatArray
    density: FloatArray
    dt: float
    spread: FloatArray
    agility: FloatArray
    """(tracks, points)."""
    resets: npt.NDArray[np.bool_] | None
    """(tracks,) bool: tracks that start again with this step; None if none does."""


class ZeroLag:
    """Smooths (tracks, points) positions in the plane without lag; returns each step `lag` steps later.

    Args:
        tracks: Number of tracks; `grow` adds more.
        points: Number of points of each track.
        groups: Points that move together.
        gate: Standard deviations from the prediction above which a measurement is an outlier.
        patience: Outliers in a row after which the point has jumped.
        lag: Steps that the smoother looks ahead.
        block: Steps returned at once.
        foresight: Steps that the scout runs ahead.
    """

    def __init__(
        self,
        tracks: int,
        points: int,
        *,
        groups: Groups,
        gate: float,
        patience: int = 2,
        lag: int,
        block: int = 1,
        foresight: int = 3,
    ) -> None:
        self.scout = Kalman(tracks, points, groups=groups, gate=gate, patience=patience)
        self._filter = Kalman(tracks, points, groups=groups, gate=gate, patience=patience)
        self._hold = groups.hold
        self._fixed = FixedLag(lag, block)
        self._foresight = foresight
        self._ahead: deque[_StepInputs] = deque()
        self._resets = np.zeros(tracks, np.bool_)

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        self.scout.grow(tracks)
        self._resets = np.concatenate([self._resets, np.zeros(tracks - len(self._resets), np.bool_)])

    def reset(self, tracks: int | slice | npt.NDArray[np.generic] = slice(None)) -> None:
        """Forget these tracks: their points start anew with their next measurement."""
        self.scout.reset(tracks)
        self._resets[tracks] = True

    def step(
        self, positions: FloatArray, variance: FloatArray, density: FloatArray, dt: float, spread: FloatArray
    ) -> list[Smoothed]:
        """Add measurements, as `Kalman.step` does; returns the steps that are ready, oldest first."""
        self.scout.step(positions, variance, density, dt, spread)
        resets = None
        if self._resets.any():
            resets, self._resets = self._resets, np.zeros_like(self._resets)
        step = _StepInputs(positions, variance, density, bounded_step(dt), spread, self.scout.agility, resets)
        self._ahead.append(step)
        return self._follow() if len(self._ahead) > self._foresight else []

    def flush(self) -> list[Smoothed]:
        """Return all steps still held, oldest first."""
        rest = []
        while self._ahead:
            rest += self._follow()
        return rest + self._fixed.flush()

    def _follow(self) -> list[Smoothed]:
        """Let the main filter make the oldest step that only the scout has made."""
        agility = np.zeros(0)
        for after, given in zip([*self._ahead][:0:-1], [*self._ahead][-2::-1], strict=True):
            coming = agility if len(agility) else after.agility
            if after.resets is not None:
                coming = np.where(after.resets[:, None], 0.0, coming)
            agility = np.maximum(given.agility, coming[: len(given.agility)] * exp(-after.dt / self._hold))
        given = self._ahead.popleft()
        if len(given.agility) > len(self._filter.mean):
            self._filter.grow(len(given.agility))
        if given.resets is not None:
            self._filter.reset(given.resets)
        args = (given.positions, given.variance, given.density, given.dt, given.spread)
        return self._fixed.push(self._filter.step(*args, agility=agility if len(agility) else given.agility))
