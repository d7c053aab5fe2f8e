"""Schedules of the learning rate by name: how it falls from its highest value, after a short rise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vtrack.errors import UsageError

RISE = 0.05
"""Share of the steps in which the rate rises, linearly."""
_DROP = 0.1
"""What each of the `steps` leaves of the rate."""
_FORM = (
    "a schedule is cosine or linear, to nothing or to a share of the rate (cosine:0.1), or steps, shares of the training after "
    "each of which a tenth of the rate is left (steps:0.78)"
)


@dataclass(frozen=True)
class RateSchedule:
    """The learning rate over a training, as a factor of the highest one."""

    kind: str
    """`cosine`, `linear` or `steps`."""
    numbers: tuple[float, ...] = ()
    """For `steps` the shares of the training; else the factor at the end, 0 if not given."""

    def factor(self, done: float) -> float:
        """The factor when a share `done` of the steps is made, 0 to 1."""
        if done < RISE:
            return 0.04 + 0.96 * done / RISE
        if self.kind == "steps":
            return _DROP ** sum(done >= number for number in self.numbers)
        gone = (done - RISE) / (1 - RISE)
        left = 0.5 + 0.5 * math.cos(math.pi * gone) if self.kind == "cosine" else 1 - gone
        last = self.numbers[0] if self.numbers else 0.0
        return last + (1 - last) * left


def parse_schedule(text: str) -> RateSchedule:
    """Make a schedule of text: `cosine`, `cosine:0.1`, `linear:0.005`, `steps:0.4,0.8`.

    Raises:
        UsageError: The text is no schedule.
    """
    kind, colon, rest = text.partition(":")
    try:
        numbers = tuple(float(number) for number in rest.split(",")) if colon else ()
    except ValueError:
        raise UsageError(f"{text!r}: {_FORM}") from None
    counted = len(numbers) >= 1 if kind == "steps" else len(numbers) <= 1
    if kind not in ("cosine", "linear", "steps") or not counted or not all(0 <= number <= 1 for number in numbers):
        raise UsageError(f"{text!r}: {_FORM}")
    return RateSchedule(kind, numbers)
