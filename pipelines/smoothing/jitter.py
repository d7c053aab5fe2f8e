"""The level of jitter: how much points tremble from frame to frame, learnt while tracking."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vtrack.filters.kalman import all_true
from vtrack.types import FloatArray

_RATE = 2.0
"""Learning rate per second."""
_OUTSIDE_SHARE = 0.2
"""Share of points that deviate more than their noise predicts at the correct level ..."""
_OUTSIDE = np.log(1 / _OUTSIDE_SHARE)
"""... and by how much, as a squared deviation over its expectation."""
_LIMITS = 0.25, 4.0
"""Smallest and largest level."""


class JitterLevel:
    """Ratio of the jitter of each track to its first estimate from sigma, learnt from frame to frame.

    Args:
        points: Number of points.
    """

    def __init__(self, points: int) -> None:
        self.factor = np.ones(0)
        """(tracks,) the ratio."""
        self._past: list[tuple[FloatArray, float]] = [(np.zeros((0, points, 2)), 0.0)] * 2
        """Parts and time steps of the last two frames."""

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        extra = tracks - len(self.factor)
        self.factor = np.concatenate([self.factor, np.ones(extra)])
        self._past = [
            (np.concatenate([parts, np.full((extra, *parts.shape[1:]), np.nan)]), dt) for parts, dt in self._past
        ]

    def reset(self, tracks: npt.NDArray[np.intp]) -> None:
        """Forget these tracks."""
        self.factor[tracks] = 1.0
        for parts, _ in self._past:
            parts[tracks] = np.nan

    def learn(self, parts: FloatArray, noise: FloatArray, dt: float) -> None:
        """Adapt the level so that four in five points lie as near to the mean of their neighbours in time as noise predicts.

        The filtered points are not used, so that level and filter cannot drive each other, and the few points that move
        do not matter.

        Args:
            parts: (tracks, points, 2) points relative to the head.
            noise: (tracks, points) variance of the jitter at the present level.
            dt: Seconds since the last frame.
        """
        (first, _), (middle, before) = self._past
        self._past = [self._past[1], (parts, dt)]
        if before <= 0 or dt <= 0:
            return
        share = before / (before + dt)  # weight of the last frame in the mean
        squares = np.square(middle - (1 - share) * first - share * parts)
        squared_bend = (squares[..., 0] + squares[..., 1]) / 2
        expected = noise * (1 + share**2 + (1 - share) ** 2)
        known, far = np.isfinite(squared_bend), squared_bend > _OUTSIDE * expected
        if all_true(known) and known.size:
            excess = far.sum(1) / known.shape[1] - _OUTSIDE_SHARE
        else:
            counts = known.sum(1)
            excess = np.where(counts > 0, (known & far).sum(1) / np.maximum(counts, 1) - _OUTSIDE_SHARE, 0.0)
        least, most = _LIMITS
        self.factor = np.minimum(np.maximum(self.factor * np.exp(_RATE * dt * excess), least), most)
