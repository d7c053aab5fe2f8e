"""Frame rate and latency of the live view."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

_RECENT = 300
"""Number of frames in the recent figures."""
_MAX_MS = 10_000
"""Milliseconds; longer latencies count as this long."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Frame rate, and the latency from capture to display."""

    fps: float
    p50: float
    """Median latency in seconds."""
    p95: float
    """95th percentile of the latency in seconds."""

    def __str__(self) -> str:
        return f"{self.fps:.0f} fps, latency {1000 * self.p50:.0f} ms (95 % within {1000 * self.p95:.0f} ms)"


class LatencyMeter:
    """Measures frame rate and latency over the most recent frames and over all frames."""

    def __init__(self, recent: int = _RECENT) -> None:
        self._recent: deque[tuple[float, float]] = deque(maxlen=recent)
        # A histogram by milliseconds, so that memory does not grow with the number of frames.
        self._histogram = np.zeros(_MAX_MS + 1, np.int64)
        self._first = 0.0

    def add(self, captured: float, shown: float) -> None:
        """Add a frame by the times, in seconds, at which it was captured and shown."""
        if not self._recent:
            self._first = shown
        self._recent.append((shown, shown - captured))
        self._histogram[min(max(round(1000 * (shown - captured)), 0), _MAX_MS)] += 1

    @property
    def total(self) -> Latency:
        """Figures of all frames; zeros before there are two."""
        count = int(self._histogram.sum())
        if count < 2:
            return Latency(0.0, 0.0, 0.0)
        p50, p95 = np.searchsorted(self._histogram.cumsum(), (0.5 * count, 0.95 * count)) / 1000
        return Latency((count - 1) / max(self._recent[-1][0] - self._first, 1e-9), float(p50), float(p95))

    @property
    def recent(self) -> Latency:
        """Figures of the most recent frames; zeros before there are two."""
        if len(self._recent) < 2:
            return Latency(0.0, 0.0, 0.0)
        times, latencies = np.array(self._recent).T
        p50, p95 = np.percentile(latencies, [50, 95])
        return Latency(float((len(times) - 1) / max(times[-1] - times[0], 1e-9)), float(p50), float(p95))
