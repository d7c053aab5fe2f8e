"""Events in time, such as blinks: which of those that were found are true, and which are missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vtrack.types import FloatArray

Interval = tuple[float, float]
"""First and last moment in seconds."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the events of one clip or of several."""

    true: int
    """Found, and there."""
    false: int
    """Found, but not there."""
    missed: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.true + other.true, self.false + other.false, self.missed + other.missed)

    @property
    def f1(self) -> float:
        """Twice the true ones over all that were found and all that are there; 1 where there is nothing to find."""
        whole = 2 * self.true + self.false + self.missed
        return 2 * self.true / whole if whole else 1.0


def intervals(flags: Sequence[bool] | np.ndarray, times: FloatArray) -> list[Interval]:
    """The runs of frames that are flagged, by their times (frames,)."""
    marked = np.concatenate([[False], np.asarray(flags, bool), [False]]).astype(np.int8)
    starts, stops = np.flatnonzero(np.diff(marked) == 1), np.flatnonzero(np.diff(marked) == -1)
    return [(float(times[start]), float(times[stop - 1])) for start, stop in zip(starts, stops, strict=True)]


def compare(found: Sequence[Interval], true: Sequence[Interval], slack: float) -> Counts:
    """Events found beside the true ones, each of which counts once; they may lie `slack` seconds apart."""
    open_to = list(true)
    hits = 0
    for start, stop in sorted(found):
        match = next((event for event in open_to if start <= event[1] + slack and stop >= event[0] - slack), None)
        if match is not None:
            open_to.remove(match)
            hits += 1
    return Counts(hits, len(found) - hits, len(open_to))
