"""The face of a person at rest, learnt while the person is watched."""

from __future__ import annotations

from math import exp, hypot

import numpy as np

from vtrack.pipelines.measures.expressions.movements import FEATURES, GAP, LIDS, matrices
from vtrack.types import FloatArray

_BINS, _REACH, _LEAST = 64, 4.0, 0.02
"""Bins of the features, how many spreads they reach to either side, and the least spread in units."""
_PRIOR, _PRIOR_OF_LIDS = 0.1, 0.5
"""Seconds of watching that the faces, and the open eyes, of most people count as."""
_SHUT_LIDS, _SHUT_WEIGHT = 0.05, 0.05
"""Openings of an eye below the first, in units, count for the second: eyes that are shut for long are not open."""
_MEMORY = 60.0
"""Seconds of rest after which what was seen counts for a third."""
_PERIOD = 0.1
"""Seconds of rest after which the neutral is computed anew."""
_LOOK = 0.1
"""Seconds of rest that tell as much of the neutral as one face of another person, or one frame."""
_SHUT = 0.03
"""Gap between the lips, beyond that of shut ones, at which a frame counts for 0.6."""
_TURNED = 0.36
"""Tangent of the turn of the head at which a frame counts for 0.6."""
_FAST = 2.0
"""Speed of the expressions, per second, at which a frame counts for a half."""
_LEAST_WEIGHT = 0.05
"""Weight of frames that look least like rest: a mouth that stays open is learnt in the end."""
_OF_LIDS = 0.6
"""Quantile of the opening of the eyes that is their rest, a little above the median: eyes that look down are not open."""
GIVEN = 0.5
"""Seconds from the moment that was told to be neutral on."""


class Neutral:
    """Learns the features of one face at rest: medians of frames with a shut mouth, a head that looks ahead, and little motion.

    Histograms of all features, weighted by time, forget slowly. Each frame counts by the time since the one before, so the
    rate of the frames does not matter.

    Args:
        at: Time in seconds at which the face is neutral; None to find out.
    """

    def __init__(self, at: float | None = None) -> None:
        self._at, self._fixed = at, False
        rest, spread = matrices().rest, matrices().spread
        reach = _REACH * np.maximum(spread, _LEAST)
        self._low, self._width = rest - reach, 2 * reach / _BINS
        centers = self._low[:, None] + (np.arange(_BINS) + 0.5) * self._width[:, None]
        prior = np.exp(-0.5 * np.square((centers - rest[:, None]) / spread[:, None])) + 1e-6
        self._weights = prior * (_PRIOR / prior.sum(1, keepdims=True))
        self._weights[LIDS] *= _PRIOR_OF_LIDS / _PRIOR
        self._rows = np.arange(len(FEATURES))
        self._shares = np.full(len(FEATURES), 0.5)
        self._shares[LIDS] = _OF_LIDS
        self._rested, self._unused = 0.0, 0.0
        self.level = rest
        """(features,) at rest."""

    @property
    def deviation(self) -> FloatArray:
        """(features,) standard deviations of `level`."""
        return matrices().spread / (1 + self._rested / _LOOK) ** 0.5

    @property
    def is_given(self) -> bool:
        """Whether the face was seen at the time at which it is neutral."""
        return self._fixed

    def learn(self, features: FloatArray, aside: FloatArray, speed: float, time: float, step: float) -> None:
        """Take account of a frame.

        Args:
            features: (features,) of the frame.
            aside: (2,) tangents of the turn of the head.
            speed: The fastest expression, per second.
            time: Time of the frame in seconds.
            step: Seconds since the frame before.
        """
        if self._at is not None and self._at <= time < self._at + GIVEN:
            if not self._fixed:
                self._fixed, self._weights = True, np.full_like(self._weights, 1e-9)
                self._rested = _MEMORY
            weight = max(step, 1e-3)
        elif self._fixed:
            return
        else:
            open_lips = max(float(features[GAP] - matrices().rest[GAP]), 0.0) / _SHUT
            turned = hypot(*aside.tolist()) / _TURNED
            still = 1 / (1 + (speed / _FAST) ** 2)
            weight = step * max(exp(-(open_lips**2 + turned**2) / 2) * still, _LEAST_WEIGHT)
            self._weights *= exp(-weight / _MEMORY)
            self._rested = self._rested * exp(-weight / _MEMORY) + weight
        bins = np.clip(((features - self._low) / self._width).astype(np.intp), 0, _BINS - 1)
        shut = matrices().opening + features[LIDS] < _SHUT_LIDS
        weights = np.full(len(features), weight)
        weights[LIDS] *= np.where(shut & (not self._fixed), _SHUT_WEIGHT, 1.0)
        self._weights[self._rows, bins] += weights
        self._unused += weight
        if self._unused >= _PERIOD or self._fixed or self._rested < 1.0:
            self._unused, self.level = 0.0, self._quantiles()

    def _quantiles(self) -> FloatArray:
        """(features,) quantiles of the histograms, interpolated within their bins."""
        sums = np.cumsum(self._weights, 1)
        below = sums[:, -1] * self._shares
        bins = (sums < below[:, None]).sum(1)
        share = 1 - (sums[self._rows, bins] - below) / self._weights[self._rows, bins]
        return np.asarray(self._low + (bins + share) * self._width)
