"""Expressions of faces in successive frames, from their points, fitted heads and neutral faces."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from vtrack.errors import spelled
from vtrack.measures import EXPRESSIONS, SPEEDS, Expressions
from vtrack.pipelines.measures.expressions.movements import BACK, CORNERS, GAP, LIDS, ROUND, frontal, matrices
from vtrack.pipelines.measures.expressions.neutral import GIVEN, Neutral
from vtrack.pipelines.measures.face_fit import FaceFit
from vtrack.types import FloatArray

log = logging.getLogger(__name__)

_SHARE = 0.5
"""Share of the standard deviation of a point that differs between frames of the same person; the rest is in the neutral, too.
On the sample clip, whose truth is known, the errors of features vary by 0.24 to 1.2 of what sigma says, 0.53 at the median."""
_JITTER = 0.12
"""Share of that which differs between neighbouring frames: in clips, what a parabola over nine smoothed frames leaves."""
_DEPTH = 0.02
"""Standard deviation of the depth of a point in units, which the fitted face does not tell."""
_LEAST_OPENING = 0.04
"""Opening of an eye at rest, in units, below which it is not believed."""
_MAX_STEP = 0.5
"""Seconds between frames beyond which there is no speed."""
_MOST = 10.0
"""Largest standard deviation: points of heads that look aside by a right angle are not known at all."""

_MOST_ASIDE = 0.7
"""Tangent of the turn of the head beyond which the far corner of the mouth does not count for more."""

_PUCKER, _FUNNEL = (EXPRESSIONS.index(name) for name in ("mouthPucker", "mouthFunnel"))
_LOWEST = np.where([name.startswith("asymmetry") for name in EXPRESSIONS], -1.0, 0.0)
_OUTWARD = np.array([-1.0, 1.0])
"""Sign of x on the left and on the right of the image."""
_MOVING = slice(-len(SPEEDS), None)


@dataclass(eq=False, slots=True)
class _Person:
    """What is known of one face."""

    neutral: Neutral
    time: float
    """Time of the last frame in seconds."""
    movements: FloatArray | None = None
    """(expressions,) of the last frame, not limited to 0 to 1."""


class ExpressionFinder:
    """Finds the expressions of faces relative to their neutral; what a frame is measured by depends on earlier frames only.

    Args:
        neutral: Time in seconds at which faces are neutral; None to find out.
    """

    def __init__(self, neutral: float | None = None) -> None:
        self._neutral, self._checked = neutral, False
        self._people: dict[int, _Person] = {}

    def update(
        self, points: FloatArray, sigma: FloatArray, size: tuple[int, int], fit: FaceFit, ids: list[int], time: float
    ) -> list[Expressions]:
        """Find the expressions of the next frame.

        Args:
            points: (faces, points, 2) the points of `EXPRESSION_QUERY` in pixels; NaN for missing ones.
            sigma: (faces, points) their standard deviations in pixels.
            size: Width and height of the frame in pixels.
            fit: The heads in space.
            ids: Track id of each face.
            time: Time of the frame in seconds.
        """
        self._people |= {track: _Person(Neutral(self._neutral), time) for track in ids if track not in self._people}
        people = [self._people[track] for track in ids]
        own, seen = matrices(), frontal(points, size, fit)
        flat = own.features.reshape(len(own.features), -1)
        features = seen.offsets.reshape(len(ids), -1) @ flat.T
        # What features change by, for an error of one standard deviation along the axes of the image, and in depth.
        along = seen.slope * (_SHARE * sigma)[..., None, None]
        changes = np.concatenate([along, _DEPTH * seen.aside[..., None]], -1)[:, None]  # (faces, 1, points, 2, 3)
        errors = own.features[..., 0, None] * changes[..., 0, :] + own.features[..., 1, None] * changes[..., 1, :]
        errors = errors.reshape(len(ids), len(flat), -1)
        rows = []
        for person, row, error, aside in zip(people, features, errors, seen.aside.mean(1), strict=True):
            rows.append(self._of_person(person, row, error, aside, time))
        return [Expressions(row) for row in rows]

    def check(self, time: float) -> None:
        """Warn, once, if the time at which faces are neutral is over and no face was seen then.

        Args:
            time: Time of the next frame in seconds; infinity at the end.
        """
        if self._checked or self._neutral is None or time < self._neutral + GIVEN:
            return
        self._checked = True
        if not any(person.neutral.is_given for person in self._people.values()):
            option = spelled("neutral", self._neutral)
            log.warning("%s has no effect: no face was seen in the %g s from there on", option, GIVEN)

    def forget(self, time: float) -> None:
        """Drop what is known of faces that were last seen at this time or before it."""
        self._people = {track: person for track, person in self._people.items() if person.time > time}

    @staticmethod
    def _of_person(
        person: _Person, features: FloatArray, errors: FloatArray, aside: FloatArray, time: float
    ) -> FloatArray:
        """(2 * expressions,) values and standard deviations of one face; what it tells of the neutral is learnt."""
        if not np.isfinite(errors).all():
            return np.full(2 * len(EXPRESSIONS), np.nan)
        own, step = matrices(), time - person.time
        before, person.time = person.movements, time
        sums = own.sums.copy()
        level = person.neutral.level
        # Lids relative to the person's own open eye.
        sums[:, LIDS] /= np.maximum(own.opening + level[LIDS], _LEAST_OPENING)
        moved = features - level
        # Corners that go back look as if they went less outwards on the near side, and more on the far side.
        sideways = min(max(float(aside[0]), -_MOST_ASIDE), _MOST_ASIDE)
        moved[CORNERS] /= 1 - BACK * sideways * _OUTWARD
        movements = sums @ moved
        variance = np.square(sums @ errors).sum(1)
        deviation = np.sqrt(variance + np.square(sums) @ np.square(person.neutral.deviation))
        speeds = np.full((2, len(EXPRESSIONS)), np.nan)
        if before is not None and 0 < step <= _MAX_STEP:
            speeds[0], speeds[1] = (movements - before) / step, _JITTER * np.sqrt(2 * variance) / step
        fastest = float(np.abs(speeds[0, _MOVING]).max()) if np.isfinite(speeds[0, 0]) else 0.0
        person.movements = movements
        person.neutral.learn(features, aside, fastest, time, min(max(step, 0.0), _MAX_STEP))
        values = np.clip(movements, _LOWEST, 1.0)
        # Lips that are narrow and shut are puckered; narrow and parted, they make a funnel.
        parted = min(max(float(features[GAP] - level[GAP]) / ROUND, 0.0), 1.0)
        values[[_PUCKER, _FUNNEL]] *= 1 - parted, parted
        deviation[[_PUCKER, _FUNNEL]] *= np.maximum((1 - parted, parted), 0.5)
        values[_MOVING], deviation[_MOVING] = speeds[:, _MOVING]
        return np.concatenate([values, np.minimum(deviation, _MOST)])
