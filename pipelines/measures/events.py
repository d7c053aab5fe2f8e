"""Events in time, such as blinks: counts of true, false and missed ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtrack.types import FloatArray

Interval = tuple[float, float]
"""Start and end in seconds."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of detected and missed events, of one clip or of several."""

    true: int
    """Detected events that are true (true positives)."""
    false: int
    """Detected events that are not true (false positives)."""
    missed: int
    """True events that were not detected (false negatives)."""

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.true + other.true, self.false + other.false, self.missed + other.missed)

    @property
    def f1(self) -> float:
        """F1 score: the harmonic mean of precision and recall; 1 where there are no events at all."""
        total = 2 * self.true + self.false + self.missed
        return 2 * self.true / total if total else 1.0


def intervals(flags: Sequence[bool] | np.ndarray, times: FloatArray) -> list[Interval]:
    """Return the intervals of consecutive frames with a flag.

    Args:
        flags: (frames,) whether the event lasts in each frame.
        times: (frames,) times of the frames in seconds.
    """
    padded = np.concatenate([[False], np.asarray(flags, bool), [False]]).astype(np.int8)
    starts, stops = np.flatnonzero(np.diff(padded) == 1), np.flatnonzero(np.diff(padded) == -1)
    return [(float(times[start]), float(times[stop - 1])) for start, stop in zip(starts, stops, strict=True)]


def compare(detected: Sequence[Interval], true: Sequence[Interval], tolerance: float) -> Counts:
    """Compare detected events with true ones, each of which matches one event at most.

    Args:
        detected: The detected events.
        true: The true events.
        tolerance: Largest gap in seconds between two events that match.
    """
    hits = len(matches(detected, true, tolerance))
    return Counts(hits, len(detected) - hits, len(true) - hits)


def matches(
    detected: Sequence[Interval], true: Sequence[Interval], tolerance: float
) -> list[tuple[Interval, Interval]]:
    """Return the detected events that match true ones, with these; see `compare`."""
    unmatched, pairs = list(true), []
    for start, stop in sorted(detected):
        match = next(
            (event for event in unmatched if start <= event[1] + tolerance and stop >= event[0] - tolerance), None
        )
        if match is not None:
            unmatched.remove(match)
            pairs.append(((start, stop), match))
    return pairs
