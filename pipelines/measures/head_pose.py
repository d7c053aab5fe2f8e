"""Poses of heads in successive frames, from their points; the shape of each person is learned meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vtrack.pipelines.measures.face_fit import (
    FaceFit,
    ShapePrior,
    face_model,
    fit_face,
    view_of,
)
from vtrack.types import FloatArray

_FOCAL = 1.0
"""Focal length over the longer side of the frame: most cameras are near it."""
_NEAREST, _NEAREST_PHOTOGRAPH = 8.0, 16.0
"""Distances from the camera, in distances between the outer corners of the eyes (about 9 cm), below which the frame is taken to
be cut out of a larger one: people seldom come nearer to a camera, or to a photographer."""
_CORRELATION_TIME = 1.0
"""Seconds whose frames tell as much of the shape of a person as one frame: expressions and errors last."""
_VIEWS = math.radians(5.0), math.radians(25.0)
"""Angles from the first view of a person: up to one, a frame repeats the errors of the first and tells nothing of the shape;
from the other it tells all."""


@dataclass(eq=False, slots=True)
class _Person:
    """What is known of the shape of one person: the part of the coefficients that stays."""

    mean: FloatArray
    covariance: FloatArray
    precision: FloatArray
    """Of all coefficients in a frame, expressions included."""
    time: float
    """Time of the last fit in seconds."""
    view: FloatArray | None = None
    """(3,) direction of the camera's axis in the axes of the head, at the first fit."""


class HeadPoses:
    """Fits heads to the points of successive frames.

    A fit depends on earlier frames only, by the shape of the person: the coefficients of the modes are the sum of a part that
    stays and of expressions, whose variances `FaceModel.person` tells. The part that stays is filtered.

    Args:
        photographs: Whether each frame is a photograph by itself.
        fov: Angle of view of the camera along the longer side of the frame in degrees; None if nothing is known of it.
    """

    def __init__(self, *, photographs: bool = False, fov: float | None = None) -> None:
        self._nearest, self._fov = _NEAREST_PHOTOGRAPH if photographs else _NEAREST, fov
        self._people: dict[int, _Person] = {}

    def update(
        self, points: FloatArray, sigma: FloatArray, size: tuple[int, int], ids: list[int], time: float
    ) -> tuple[FaceFit, FloatArray]:
        """Fit the heads of the next frame.

        Args:
            points: (faces, points, 2) the points of `MEASURE_QUERY` in pixels; NaN for missing ones.
            sigma: (faces, points) their standard deviations in pixels.
            size: Width and height of the frame in pixels.
            ids: Track id of each face.
            time: Time of the frame in seconds.

        Returns:
            The heads in space, and (faces,) the length of one unit at each of them in pixels.
        """
        share = face_model().person
        for track in set(ids) - set(self._people):
            self._people[track] = _Person(np.zeros(len(share)), np.diag(share), np.eye(len(share)), time)
        people = [self._people[track] for track in ids]
        prior = ShapePrior(
            np.array([person.mean for person in people]), np.array([person.precision for person in people])
        )
        fit, unit = fit_heads(points, sigma, size, prior, self._nearest, self._fov)
        for i, person in enumerate(people):
            if fit.known[i]:
                news = self._news(person, fit.rotation[i], time)
                if news:
                    self._learn(person, news, fit.shape[i], fit.covariance[i, 6:, 6:])
        return fit, unit

    def forget(self, time: float) -> None:
        """Drop what is known of faces that were last seen at this time or before it."""
        self._people = {track: person for track, person in self._people.items() if person.time > time}

    @staticmethod
    def _news(person: _Person, rotation: FloatArray, time: float) -> float:
        """Share, 0 to 1, of what a frame tells of a person's shape that earlier frames did not tell."""
        view = rotation[2]  # A roll in the image shows nothing new.
        person.view = view if person.view is None else person.view
        turn = math.acos(min(max(float(view @ person.view), -1.0), 1.0))
        passed, person.time = max(time - person.time, 0.0), time
        low, high = _VIEWS
        return min(max((turn - low) / (high - low), 0.0), 1.0) * min(passed / _CORRELATION_TIME, 1.0)

    @staticmethod
    def _learn(person: _Person, news: float, shape: FloatArray, left: FloatArray) -> None:
        """Update a person's shape by what a share of a frame tells: coefficients, and their covariance after the fit."""
        expression = np.diag(1 - face_model().person)
        expected = person.covariance + expression
        gain = person.covariance @ person.precision
        person.mean = person.mean + news * gain @ (shape - person.mean)
        person.covariance = person.covariance - news * gain @ (expected - left) @ gain.T
        person.precision = np.linalg.inv(person.covariance + expression)


def fit_heads(
    points: FloatArray,
    sigma: FloatArray,
    size: tuple[int, int],
    prior: ShapePrior | None = None,
    nearest: float = _NEAREST,
    fov: float | None = None,
) -> tuple[FaceFit, FloatArray]:
    """Fit heads for a camera centered on the frame.

    Args:
        points: (faces, points, 2) the points of `MEASURE_QUERY` in pixels; NaN for missing ones.
        sigma: (faces, points) their standard deviations in pixels.
        size: Width and height of the frame in pixels.
        prior: What is known of their shapes; None if nothing is.
        nearest: Distance in units that no head is nearer than, if the camera is not known.
        fov: Angle of view of the camera along the longer side of the frame in degrees; None if nothing is known of it.

    Returns:
        The heads in space, and (faces,) the length of one unit at each of them in pixels.
    """
    if prior is None:
        count = len(face_model().modes)
        prior = ShapePrior(np.zeros((len(points), count)), np.broadcast_to(np.eye(count), (len(points), count, count)))
    view = view_of(points - (np.array(size) - 1) / 2, sigma)
    if fov is None:
        focal = np.maximum(_FOCAL * max(size), nearest * view.scale)
    else:
        focal = np.full(len(points), max(size) / 2 / np.tan(np.radians(fov) / 2))
    fit = fit_face(view, sigma, focal, prior)
    return fit, focal / fit.translation[:, 2]


def angles(rotation: FloatArray) -> FloatArray:
    """Yaw (to the right of the image), pitch (down) and roll (clockwise on screen) of rotations from the head's axes.

    Args:
        rotation: (..., 3, 3) from the axes of the head to those of the camera.

    Returns:
        (..., 3) degrees. Yaw and pitch say where the face looks: 0 at the camera plane; roll is a turn about that direction.
    """
    yaw = np.arctan2(-rotation[..., 0, 2], rotation[..., 2, 2])
    pitch = np.arcsin(np.clip(-rotation[..., 1, 2], -1.0, 1.0))
    roll = np.arctan2(rotation[..., 1, 0], rotation[..., 1, 1])
    return np.degrees(np.stack([yaw, pitch, roll], -1))
