"""Timestamps that always grow, from those of a decoder."""

from __future__ import annotations

from fractions import Fraction

USUAL_RATE = 25


class Clock:
    """Right timestamps pass unchanged.

    A missing one follows the last by one frame. One that stands still or steps back by less than a second is put one
    tick on; where the clock starts anew, as in joined recordings, it goes on from where it was.
    """

    def __init__(self, time_base: Fraction, rate: Fraction | None, first: int = 0) -> None:
        self._second = 1 / time_base
        self._step = max(1, round(self._second / (rate or USUAL_RATE)))
        self._offset = 0
        self._last: int | None = None
        self._next = first

    def __call__(self, pts: int | None) -> int:
        """The timestamp to use for a picture whose decoder says `pts`."""
        now = self._next if pts is None else pts + self._offset
        if self._last is not None:
            if now + self._second <= self._last:
                self._offset += self._next - now
                now = self._next
            now = max(now, self._last + 1)
        self._last, self._next = now, now + self._step
        return now
