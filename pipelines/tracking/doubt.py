"""Doubt: whether what a track follows is still a face, by its last second.

A landmark model follows whatever it was led to once: a torso, a hand, the back of the head that a face went behind. It then
shows three symptoms: points are uncertain for the size of the face, presence is less than certain, and the box grows or
shrinks. Each also occurs on true faces, so together they end a track, and none alone, unless points are as uncertain as on no
face.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from vtrack.anchors import ANCHORS
from vtrack.pipelines.tracking.landmarks import Sighting
from vtrack.types import LandmarkModel

WINDOW = 1.0
"""Seconds that are judged; younger tracks are judged by what there is of them."""

# Measured over one second on clips, and on made scenes of faces that are covered, blurred, cut by the edge or far away, true
# faces are hardly worse than the worst 1 % of photographs: with the `fast` of version 0.1, sigma up to 0.027 instead of 0.023.
# Torsos, walls and backs of heads, with boxes forced upon them, had sigma from 0.031, presence from 0.55 to 0.98, and boxes
# that change by a tenth to a hundredfold.
_VAGUE = 1.5
"""Mean sigma that is a full symptom, as a factor of that of the worst faces."""
_ABSENT = 0.2
"""Presence below that of the worst faces that is a full symptom."""
_GROWTH = np.log(2.0)
"""Range of the logarithm of the box side that is a full symptom: a box of twice the size. A face that comes near grows as
much, so this counts twice the missing presence at most."""
_BLIND = 1.8
"""Mean sigma, as a factor of that of the worst faces, that no face has: it ends a track alone. With `fast`, a second of a face
has at most 1.0 in eleven clips, and torsos, hands and backs of heads have 2.1 to 3.0."""
_SINGLE = 0.8
"""Most that one symptom counts: none ends a track alone, but a sigma beyond `_BLIND`."""
_LIMIT = 1.0
"""Sum of the symptoms from which a face is none."""


@dataclass(frozen=True, slots=True)
class WorstFace:
    """What a landmark model says of the worst 1 % of photographs of faces."""

    # Those of the least certain of the shipped models, for models whose card does not tell.
    sigma: float = 0.04
    """Mean sigma of the anchors in sides of the box."""
    presence: float = 0.85

    @classmethod
    def of(cls, model: LandmarkModel) -> WorstFace:
        """What the card of a model says."""
        return cls(**getattr(getattr(model, "card", None), "faces", {}))


LEAST_CERTAIN = WorstFace()


class DoubtWindow:
    """The symptoms of one track in its last second. Times may run forwards or backwards.

    Args:
        worst: How uncertain the landmark model is of true faces.
    """

    def __init__(self, worst: WorstFace = LEAST_CERTAIN) -> None:
        self._worst = worst
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
        sigma = sigmas.mean() / self._worst.sigma
        vague = (sigma - 1) / (_VAGUE - 1)
        absent = (self._worst.presence - presences.mean()) / _ABSENT
        grown = min(np.ptp(sides) / _GROWTH, 2 * absent)
        symptoms = np.clip((vague, absent, grown), 0.0, _SINGLE).sum()
        return float(max(symptoms, _LIMIT if sigma >= _BLIND else 0.0))

    @property
    def is_doubtful(self) -> bool:
        """Whether this is no face."""
        return bool(self._sightings) and self.doubt >= _LIMIT
