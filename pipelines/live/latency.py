"""How fast a live picture is shown, and how old it is by then."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

_RECENT = 300
"""How many frames the figures of the pace are taken from."""
_OLDEST = 10_000
"""Milliseconds; older frames count as that old."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast frames are shown, and how old they are then."""

    fps: float
    p50: float
    """Median seconds from capture to display."""
    p95: float

    def __str__(self) -> str:
        return f"{self.fps:.0f} fps  {1000 * self.p50:.0f} ms, 95 % within {1000 * self.p95:.0f}"


class PaceMeter:
    """Measures the pace over the last frames, and over all."""

    def __init__(self, recent: int = _RECENT) -> None:
        self._shown: deque[tuple[float, float]] = deque(maxlen=recent)
        # Ages are counted by the millisecond, so that days of frames take no more memory than a minute's.
        self._ages = np.zeros(_OLDEST + 1, np.int64)
        self._first = 0.0

    def add(self, captured: float, shown: float) -> None:
        """A frame captured then was shown now."""
        if not self._shown:
            self._first = shown
        self._shown.append((shown, shown - captured))
        self._ages[min(max(round(1000 * (shown - captured)), 0), _OLDEST)] += 1

    @property
    def whole(self) -> Pace:
        """Of all frames; zeros before there are two."""
        count = int(self._ages.sum())
        if count < 2:
            return Pace(0.0, 0.0, 0.0)
        p50, p95 = np.searchsorted(self._ages.cumsum(), (0.5 * count, 0.95 * count)) / 1000
        return Pace((count - 1) / max(self._shown[-1][0] - self._first, 1e-9), float(p50), float(p95))

    @property
    def pace(self) -> Pace:
        """Of the last frames; zeros before there are two."""
        if len(self._shown) < 2:
            return Pace(0.0, 0.0, 0.0)
        times, ages = np.array(self._shown).T
        p50, p95 = np.percentile(ages, [50, 95])
        return Pace(float((len(times) - 1) / max(times[-1] - times[0], 1e-9)), float(p50), float(p95))
