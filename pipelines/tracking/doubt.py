"""Doubt: whether what a track follows is still a face, by its last second.

A landmark model follows whatever it was led to once: a torso, a hand, the back of the head that a face went behind. It then
shows three symptoms: points are uncertain for the size of the face, presence is less than certain, and the box grows or
shrinks. Each also occurs on true faces, so none alone may end a track; together they do.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from vtrack.anchors import ANCHORS
from vtrack.pipelines.tracking.landmarks import Sighting

WINDOW = 1.0
"""Seconds that are judged; younger tracks are judged by what there is of them."""

# Measured with `fast` over one second, on 19 clips, 570 photographs (blurred, old, masked, yawning faces) and made scenes of
# faces that are covered, blurred, cut by the edge or far away: true faces have sigma up to 0.026 of the box's longer side and
# presence from 0.99. Torsos, walls and backs of heads, with boxes forced upon them, have sigma from 0.031, presence from
# 0.55 to 0.98, and boxes that change by a tenth to a hundredfold.
_SHARP, _VAGUE = 0.02, 0.04
"""Mean sigma of the anchors in box sides that is no symptom, and that is a full one."""
_ABSENT = 0.8
"""Presence that is a full symptom; 1 is none."""
_GROWTH = np.log(2.0)
"""Range of the logarithm of the box side that is a full symptom: a box of twice the size. A face that comes near grows as
much, so this counts twice the missing presence at most."""
_SINGLE = 0.8
"""Most that one symptom counts: none ends a track alone, however large."""
_LIMIT, _FIRST_LIMIT = 1.0, 0.85
"""Sum of the symptoms from which a face is none: of a track, and of a single sighting, whose box cannot have changed yet."""


class DoubtWindow:
    """The symptoms of one track in its last second. Times may run forwards or backwards."""

    def __init__(self) -> None:
        self._sightings: deque[tuple[float, float, float, float]] = deque()
        """Time, sigma in box sides, presence, logarithm of the box side."""

    def add(self, time: float, sighting: Sighting) -> None:
        """Add the newest sighting."""
        side = max(sighting.side, 1e-6)
        sigma = float(sighting.sigma[-len(ANCHORS) :].mean()) / side
        self._sightings.append((time, sigma, sighting.presence, float(np.log(side))))
        while abs(time - self._sightings[0][0]) > WINDOW:
            self._sightings.popleft()

    @property
    def doubt(self) -> float:
        """Sum of the three symptoms, 0 to 2.4."""
        _, sigmas, presences, sides = np.array(self._sightings).T
        vague = (sigmas.mean() - _SHARP) / (_VAGUE - _SHARP)
        absent = (1 - presences.mean()) / (1 - _ABSENT)
        grown = min(np.ptp(sides) / _GROWTH, 2 * absent)
        return float(np.clip((vague, absent, grown), 0.0, _SINGLE).sum())

    @property
    def is_doubtful(self) -> bool:
        """Whether this is no face."""
        count = len(self._sightings)
        return bool(count) and self.doubt >= (_LIMIT if count > 1 else _FIRST_LIMIT)
