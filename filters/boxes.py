"""A steady box for one thing that moves: where it is, how large, how it is turned, and where it will be next.

Much of what trembles in landmarks is the trembling of the crop that they are read from. A box from here moves smoothly,
does not lag behind even motion, and soon follows a sudden turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from vtrack.filters.kalman import Groups, Kalman
from vtrack.types import FloatArray

# In units of the box's longer side. At these densities crops trembled least on clips of still, moving and talking faces.
# The jitter is so large that a hand or another face that begins to hide its own is no alarm yet, and a fast head is.
_JITTER = 0.04
_DENSITY = np.array([[1.2, 0.4, 1.2]])
"""Of the centre, the logarithms of width and height, and the angle."""
_SPEED = 1.0
_FORGET = 1.0
"""Seconds in which a speed that nobody confirms is forgotten."""


class BoxFilter:
    """Steadies a box (x, y, w, h) and its angle (radians).

        boxes = BoxFilter()
        boxes.add(time, box, angle)           # as measured
        box, angle = boxes.predict(time)      # steady: at the same time, or a little later

    Times may run forwards or backwards, but not both.
    """

    def __init__(self) -> None:
        self._kalman = Kalman(1, 3, groups=Groups(np.arange(3)))
        self._time: float | None = None
        self._direction = 1.0
        self._side = 1.0
        self._goal: FloatArray | None = None
        """Where the last way led to, (3, 2, 2) places and speeds ..."""
        self._goal_time = 0.0
        """... and when it gets there."""

    def add(self, time: float, box: FloatArray, angle: float = 0.0) -> None:
        """The next measured box."""
        box = np.asarray(box, np.float64)
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] <= 0).any():
            raise ValueError(f"a box needs a finite x and y, and a positive width and height, got {box}")
        dt = 0.0
        if self._time is not None:
            dt = abs(time - self._time)
            self._direction = np.sign(time - self._time) or self._direction
            # The nearer way round, so that a full turn is no turn.
            last = self._kalman.mean[0, 2, 0, 0]
            angle = last + np.remainder(angle - last + np.pi, 2 * np.pi) - np.pi
        self._time, self._side = time, box[2:].max()
        # Three points of the plane: the centre, the logarithms of width and height, the angle (and nothing).
        places = np.stack([box[:2] + box[2:] / 2, np.log(box[2:]), [angle, 0.0]])
        units = np.array([[self._side, 1.0, 1.0]])
        self._kalman.step(places[None], (_JITTER * units) ** 2, _DENSITY * units**2, dt, _SPEED * units)

    def predict(self, time: float) -> tuple[FloatArray, float]:
        """Box (4,) and angle at the time of the last measured box, or a little beyond it."""
        if self._time is None:
            raise ValueError("no box was added yet")
        ahead = (time - self._time) * self._direction
        ahead = np.sign(ahead) * _FORGET * (1 - np.exp(-abs(ahead) / _FORGET))
        mean = self._kalman.mean[0]
        boxes, angles = _boxes(mean[:, 0] + ahead * mean[:, 1])
        return boxes, float(angles)

    def after(self, time: float, box: FloatArray, angle: float) -> BoxFilter:
        """What this filter will be once it has got one more box."""
        then = copy(self)
        then._kalman = self._kalman.copy()
        then.add(time, box, angle)
        return then

    def way(self, time: float, box: FloatArray, angle: float, times: Sequence[float]) -> tuple[FloatArray, FloatArray]:
        """Boxes (n, 4) and angles (n,) on a smooth way from the newest box to one measured later, at times in between.

        The later box is not learnt from, since what is found on the way will tell more. A way that begins where and when
        another ended goes on from there at its speed: a kink would make all that is read from its crops twitch.
        """
        if self._time is None:
            raise ValueError("no box was added yet")
        goal = self.after(time, box, angle)._kalman.mean[0]
        start = self._goal if self._goal is not None and self._goal_time == self._time else self._kalman.mean[0]
        span = abs(time - self._time)
        share = np.abs(np.asarray(times) - self._time)[:, None, None] / span if span else np.ones((len(times), 1, 1))
        self._goal, self._goal_time = goal, time
        # The cubic with these places and speeds at its ends.
        left = 1 - share
        places = left**2 * (1 + 2 * share) * start[:, 0] + share**2 * (1 + 2 * left) * goal[:, 0]
        return _boxes(places + share * left * span * (left * start[:, 1] - share * goal[:, 1]))


def _boxes(places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(..., 3, 2) centre, logarithms of the size, angle (and nothing) to boxes (..., 4) and angles (...)."""
    size = np.exp(places[..., 1, :])
    return np.concatenate([places[..., 0, :] - size / 2, size], -1), places[..., 2, 0]
