"""Repair of timestamps: missing, repeated or backward ones become strictly increasing."""

from __future__ import annotations

from fractions import Fraction

DEFAULT_RATE = 25
"""Frames per second assumed for a video that states no rate."""


class TimestampRepair:
    """Makes the timestamps of one video strictly increasing; correct timestamps pass unchanged.

    A missing timestamp is put one frame after the last. One that repeats or steps back by less than a second is put one
    tick after the last. Where the clock restarts, as in joined recordings, time continues from the last frame.

    Args:
        time_base: Unit of the timestamps in seconds.
        rate: Frames per second; None where unknown.
        first: Timestamp of the first frame if it has none.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None, first: int = 0) -> None:
        self._second = 1 / time_base
        self._step = max(1, round(self._second / (rate or DEFAULT_RATE)))
        self._offset = 0
        self._last: int | None = None
        self._next = first

    def __call__(self, pts: int | None) -> int:
        """Return the timestamp to use for the next frame, whose decoder reports `pts`."""
        now = self._next if pts is None else pts + self._offset
        if self._last is not None:
            if now + self._second <= self._last:
                self._offset += self._next - now
                now = self._next
            now = max(now, self._last + 1)
        self._last, self._next = now, now + self._step
        return now
