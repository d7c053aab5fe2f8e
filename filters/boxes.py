"""A steady box for one thing that moves: where it is, how large, how it is turned, and where it will be next.

Much of what trembles in landmarks is the trembling of the crop that they are read from. A box from here moves smoothly,
does not lag behind even motion, and follows a sudden turn at once.
"""

from __future__ import annotations

from copy import deepcopy

import numpy as np

from filters.kalman import Groups, Kalman
from vtrack.types import FloatArray

# In units of the box's longer side. Jitter is what a face that speaks does to its box, so that only more is an alarm and
# makes the filter agile. Densities are those at which crops trembled least on clips of still, moving and talking faces
# and fast heads were not lost more often: a place moves, a size hardly does.
_JITTER = 0.02
_DENSITY = np.array([[1.0, 0.01, 1.0]])
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

    def foresee(self, time: float, box: FloatArray, angle: float = 0.0) -> tuple[FloatArray, float]:
        """What `predict` would say at this time if this box were measured then. Nothing is learnt from it."""
        then = deepcopy(self)
        then.add(time, box, angle)
        return then.predict(time)

    def predict(self, time: float) -> tuple[FloatArray, float]:
        """Box (4,) and angle at the time of the last measured box, or a little beyond it."""
        if self._time is None:
            raise ValueError("no box was added yet")
        ahead = (time - self._time) * self._direction
        ahead = np.sign(ahead) * _FORGET * (1 - np.exp(-abs(ahead) / _FORGET))
        mean = self._kalman.mean[0]
        middle, size, turn = mean[:, 0] + ahead * mean[:, 1]
        width_height = np.exp(size)
        return np.concatenate([middle - width_height / 2, width_height]), float(turn[0])
