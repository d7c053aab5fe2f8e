"""The One-Euro filter (Casiez, Roussel and Vogel, 2012): a low-pass whose cutoff rises with speed.

Fast and causal: it removes jitter of slow motion and follows fast motion, with a little lag. All points of all
tracks take one NumPy step, each with a state of its own, by the true time between measurements.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vtrack.filters.motion import bounded_step
from vtrack.types import FloatArray

_HIGHEST = 1e12
"""Product of cutoff and time from which a low-pass gives the new value."""


def blend(cutoff: FloatArray | float, dt: FloatArray | float) -> FloatArray:
    """Share of the new value in a first-order low-pass of `cutoff` Hz after `dt` seconds."""
    rate = np.minimum(2 * np.pi * cutoff * dt, _HIGHEST)
    return rate / (rate + 1)


class OneEuro:
    """A One-Euro filter of (tracks, points) positions in the plane; a missing measurement (NaN) keeps the last position.

    Args:
        tracks: Number of tracks; `grow` adds more.
        points: Number of points of each track.
        speed_cutoff: Cutoff in Hz of the low-pass of the speed.
    """

    def __init__(self, tracks: int, points: int, *, speed_cutoff: float = 1.0) -> None:
        if speed_cutoff <= 0:
            raise ValueError(f"speed_cutoff must be positive (Hz), got {speed_cutoff}")
        self.speed_cutoff = speed_cutoff
        self.positions = np.full((tracks, points, 2), np.nan)
        self._raw = self.positions  # the last measurements
        self._speeds = np.zeros((tracks, points, 2))
        self._since = np.zeros((tracks, points))  # seconds since each point was measured

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        extra = tracks - len(self.positions)
        for name, value in (("positions", np.nan), ("_raw", np.nan), ("_speeds", 0.0), ("_since", 0.0)):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.full((extra, *array.shape[1:]), value)]))

    def reset(self, tracks: int | slice | npt.NDArray[np.generic] = slice(None)) -> None:
        """Forget these tracks: their points start anew with their next measurement."""
        self.positions = self.positions.copy()
        self.positions[tracks] = np.nan
        self._speeds = self._speeds.copy()
        self._speeds[tracks] = 0.0
        self._since = self._since.copy()
        self._since[tracks] = 0.0

    def step(
        self, positions: FloatArray, cutoff: FloatArray | float, beta: FloatArray | float, dt: float
    ) -> FloatArray:
        """Filter the next measurements.

        Args:
            positions: (tracks, points, 2), NaN where not measured.
            cutoff: Cutoff in Hz of a point at rest.
            beta: Hz that the cutoff gains per unit of speed per second.
            dt: Seconds since the previous step; see `vtrack.filters.motion.bounded_step`.

        Returns:
            (tracks, points, 2) filtered positions.
        """
        since = self._since + bounded_step(dt)
        measured = np.asarray(np.isfinite(positions).all(-1))
        known = np.asarray(np.isfinite(self.positions).all(-1))
        follow = np.asarray(measured & known)[..., None]
        speeds = np.where(follow, positions - self._raw, 0.0) / np.where(follow, since[..., None], 1.0)
        change = np.where(follow, blend(self.speed_cutoff, since)[..., None] * (speeds - self._speeds), 0.0)
        self._speeds = self._speeds + change
        speed = np.linalg.norm(self._speeds, axis=-1)
        share = blend(np.asarray(cutoff) + np.asarray(beta) * speed, since)[..., None]
        moved = self.positions + np.where(follow, share * (positions - self.positions), 0.0)
        self.positions = np.where((measured & ~known)[..., None], positions, moved)
        self._raw = np.where(measured[..., None], positions, self._raw)
        self._since = np.where(measured, 0.0, since)
        return self.positions
