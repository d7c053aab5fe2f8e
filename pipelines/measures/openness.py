"""How far a person's eyes are open when they are open, learnt while the person is watched."""

from __future__ import annotations

from math import exp

import numpy as np

from vtrack.types import FloatArray

_BIN = 0.01
"""Width of a bin of openings (height over width of an eye)."""
_EDGES = np.arange(1, 65) * _BIN
"""Upper edges of the bins; larger openings count as the largest."""
_TYPICAL, _SPREAD = 0.33, 0.06
"""Opening of the people of `w68`: the median of their 3,580 eyes, and somewhat less than the standard deviation of those above
0.15 (0.08), of which some are half shut."""
_PRIOR = 0.1
"""Seconds of watching that the opening of most people counts as."""
_MEMORY = 60.0
"""Seconds of watching after which what was seen counts for a third."""
_LEAST = 0.15
"""Least opening of open eyes: shut ones are predicted at 0.02 to 0.1."""
_SHUT, _SHUT_WEIGHT = 0.11, 0.1
"""Openings below the first count for the second, so that eyes that sleep for minutes are not taken for open."""
_CERTAIN = 0.06
"""Standard deviation of an opening up to which it counts fully. It is 0.04 to 0.05 in clips, and 0.1 to 0.3 for the far eye of
a head that is turned by more than 15°."""
_PERIOD = 0.1
"""Seconds after which the levels are computed anew."""


class OpenLevel:
    """Learns the usual opening of one open eye, as a median that blinks, closures and wide eyes hardly change.

    A histogram of openings, weighted by time and certainty, forgets slowly. The level is the median of its upper part: of the
    openings above half of the ninth decile. Every frame counts by the time since the one before, so the rate of the frames
    does not matter.
    """

    def __init__(self) -> None:
        prior = np.exp(-0.5 * ((_EDGES - _BIN / 2 - _TYPICAL) / _SPREAD) ** 2) + 1e-6
        self._weights: list[float] = (prior * (_PRIOR / prior.sum())).tolist()
        self._scale = 1.0
        """Weight of a second now: it grows instead of the others shrinking."""
        self._unused = 0.0
        self.level = _TYPICAL

    def learn(self, opening: float, deviation: float, step: float) -> None:
        """Take account of a frame.

        Args:
            opening: Opening of the eye, height over width.
            deviation: Its standard deviation.
            step: Seconds since the frame before.
        """
        weight = step * min((_CERTAIN / max(deviation, 1e-9)) ** 2, 1.0)
        if opening < _SHUT:
            weight *= _SHUT_WEIGHT
        self._scale *= exp(weight / _MEMORY)
        self._weights[min(max(int(opening / _BIN), 0), len(_EDGES) - 1)] += weight * self._scale
        self._unused += step
        if self._unused >= _PERIOD:
            self._unused = 0.0
            weights = np.array(self._weights)
            if self._scale > 1e6:
                weights /= self._scale
                self._weights, self._scale = weights.tolist(), 1.0
            self.level = _upper_median(weights)


def _upper_median(weights: FloatArray) -> float:
    """Return the median of the openings above half of the ninth decile of a histogram."""
    high = float(np.interp(0.9 * weights.sum(), np.cumsum(weights), _EDGES))
    above = np.where(0.5 * high < _EDGES, weights, 0.0)
    return max(float(np.interp(0.5 * above.sum(), np.cumsum(above), _EDGES)), _LEAST)
