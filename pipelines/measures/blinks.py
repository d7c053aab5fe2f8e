"""Blink detection: eyes that close relative to their usual opening, for a short time.

`blink` marks the frames of blinks, and `blinks` is the number of its runs that have begun: both are one definition. Frame by
frame it is not known how long eyes will stay closed, so the first `MAX_DURATION` of each closure is marked; where later
frames are there, `vtrack.pipelines.measures.lookahead` takes back what was too long.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_CLOSED, _OPENED = 0.62, 0.75
"""Share of the usual opening below which eyes are closed, and above which they are open again."""
_INITIAL_OPENING = 0.24
"""Usual opening that is assumed for a new face."""
_RISE_TIME, _FALL_TIME = 0.3, 8.0
"""Time constants in seconds with which the usual opening follows a larger and a smaller opening. Noise alone must not
raise it, so it does not rise at once."""
MAX_DURATION = 0.6
"""Seconds; eyes that are closed for longer are no blink."""


@dataclass(slots=True)
class BlinkDetector:
    """Detects and counts the blinks of one face."""

    time: float
    """Time of the last frame in seconds."""
    usual: float = _INITIAL_OPENING
    """Usual opening of the eyes."""
    closed_since: float | None = None
    """Time at which the eyes closed; None while they are open."""
    blinks: int = 0
    """Number of blinks that have begun."""

    def update(self, opening: float, time: float) -> bool:
        """Process the next frame.

        Args:
            opening: Mean eye opening of both eyes.
            time: Time of the frame in seconds.

        Returns:
            Whether the eyes are closed, for `MAX_DURATION` at most.
        """
        elapsed, self.time = time - self.time, time
        if opening > self.usual:
            self.usual += (opening - self.usual) * (1 - np.exp(-elapsed / _RISE_TIME))
        elif opening > _CLOSED * self.usual or self._is_too_long(time):
            self.usual += (opening - self.usual) * (1 - np.exp(-elapsed / _FALL_TIME))
        if self.closed_since is None:
            if opening < _CLOSED * self.usual:
                self.closed_since = time
                self.blinks += 1
        elif opening > _OPENED * self.usual:
            self.closed_since = None
        return self.closed_since is not None and not self._is_too_long(time)

    def _is_too_long(self, time: float) -> bool:
        return self.closed_since is not None and time - self.closed_since > MAX_DURATION
