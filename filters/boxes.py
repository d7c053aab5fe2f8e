"""A Kalman filter for the box of one moving object: its centre, size and angle, now and a little ahead.

Much of the jitter of landmarks comes from jitter of the crop that they are predicted on. A filtered box moves smoothly,
does not lag behind constant motion, and soon follows a sudden turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from vtrack.filters.kalman import Groups, Kalman
from vtrack.types import FloatArray

# In units of the box's longer side. With these densities crops had the least jitter on clips of still, moving and talking
# faces. The jitter is large enough that an occlusion by a hand does not count as motion, and a fast head does.
_JITTER = 0.04
_DENSITY = np.array([[1.2, 0.4, 1.2]])
"""Noise density of the centre, of the logarithms of width and height, and of the angle."""
_SPEED = 1.0
_FORGET = 1.0
"""Seconds in which a speed without new measurements decays by a factor of e."""


class BoxFilter:
    """Filters a box (x, y, w, h) and its angle (radians).

    Times may run forwards or backwards, but not both.

    Example:
        >>> boxes = BoxFilter()
        >>> boxes.add(0.0, np.array([10.0, 10, 100, 120]), angle=0.1)
        >>> box, angle = boxes.predict(0.04)
    """

    def __init__(self) -> None:
        self._kalman = Kalman(1, 3, groups=Groups(np.arange(3)))
        self._time: float | None = None
        self._direction = 1.0
        self._side = 1.0
        self._goal: FloatArray | None = None
        """End of the last interpolated path, (3, 2, 2) positions and speeds ..."""
        self._goal_time = 0.0
        """... and its time."""

    def add(self, time: float, box: FloatArray, angle: float = 0.0) -> None:
        """Add the next measured box.

        Args:
            time: Seconds.
            box: (4,) x, y, w, h.
            angle: Radians; full turns are ignored.

        Raises:
            ValueError: The box is not finite or has no area.
        """
        box = np.asarray(box, np.float64)
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] <= 0).any():
            raise ValueError(f"a box needs a finite x and y, and a positive width and height, got {box}")
        dt = 0.0
        if self._time is not None:
            dt = abs(time - self._time)
            self._direction = np.sign(time - self._time) or self._direction
            # The equivalent angle nearest to the last one.
            last = self._kalman.mean[0, 2, 0, 0]
            angle = last + np.remainder(angle - last + np.pi, 2 * np.pi) - np.pi
        self._time, self._side = time, box[2:].max()
        # As three points: the centre, the logarithms of width and height, the angle (and 0).
        places = _places(box, angle)
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
        """A copy of this filter with one more box."""
        other = copy(self)
        other._kalman = self._kalman.copy()
        other.add(time, box, angle)
        return other

    def way(
        self,
        time: float,
        box: FloatArray,
        angle: float,
        times: Sequence[float],
        course: tuple[FloatArray, FloatArray] | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Interpolate smoothly from the latest box to one measured later.

        The later box is not added to the filter, since the boxes measured in between will be. A path that starts where and
        when the last one ended continues at its speed, since a kink would show in the landmarks.

        Args:
            time: Time of the later box.
            box: (4,) the later box.
            angle: Its angle.
            times: Times (n,) in between.
            course: Boxes (n + 1, 4) and angles (n + 1,) at the start and at these times, as optical flow saw them; the last
                of these times is then `time`. Their errors, which add up, are spread over the way.

        Returns:
            Boxes (n, 4) and angles (n,).
        """
        if self._time is None:
            raise ValueError("no box was added yet")
        goal = self.after(time, box, angle)._kalman.mean[0]
        start = self._goal if self._goal is not None and self._goal_time == self._time else self._kalman.mean[0]
        span = abs(time - self._time)
        share = np.abs(np.asarray(times) - self._time)[:, None, None] / span if span else np.ones((len(times), 1, 1))
        self._goal, self._goal_time = goal, time
        left = 1 - share
        if course is not None:
            seen = _places(*course)
            return _boxes(seen[1:] + left * (start[:, 0] - seen[0]) + share * (goal[:, 0] - seen[-1]))
        # The cubic Hermite curve with these positions and speeds at its ends.
        places = left**2 * (1 + 2 * share) * start[:, 0] + share**2 * (1 + 2 * left) * goal[:, 0]
        return _boxes(places + share * left * span * (left * start[:, 1] - share * goal[:, 1]))


def _places(boxes: FloatArray, angles: FloatArray | float) -> FloatArray:
    """Boxes (..., 4) and angles (...) to (..., 3, 2) centre, logarithms of the size, angle (and 0)."""
    centres, sizes = boxes[..., :2] + boxes[..., 2:] / 2, np.log(boxes[..., 2:])
    turns = np.asarray(angles)[..., None] * np.array([1.0, 0.0])
    return np.stack([centres, sizes, turns], -2)


def _boxes(places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(..., 3, 2) centre, logarithms of the size, angle (and 0) to boxes (..., 4) and angles (...)."""
    size = np.exp(places[..., 1, :])
    return np.concatenate([places[..., 0, :] - size / 2, size], -1), places[..., 2, 0]
