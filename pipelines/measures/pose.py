"""Poses of heads as tables have them, from faces fitted in space: OpenFace's axes, a unit of length, standard deviations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from vtrack.measures import HeadPose
from vtrack.pipelines.measures.face_fit import FaceFit, cross_matrices, face_model
from vtrack.pipelines.measures.shapes import OUTER_CORNERS
from vtrack.types import FloatArray

_MAX_SD = np.pi
"""Largest standard deviation of an angle in radians. Those about x and z grow beyond all bounds where the head looks aside by a
right angle."""


@dataclass(frozen=True, slots=True)
class EyeDistance:
    """Distance between the outer corners of the eyes in the unit of places in space."""

    mean: float = 1.0
    sd: float = 0.0
    """Standard deviation of what is known of it."""


EYES = EyeDistance()
"""Places are told in these distances themselves."""
# M. K. Chan and others, 2013 (doi.org/10.1155/2013/821428): 93.0 (5.6) mm of 51 men, 88.4 (3.7) mm of 52 women, aged 18 to 35.
ADULTS = EyeDistance(90.7, 5.3)
"""In mm, of an adult of whom nothing is known."""


def eye_distance(unit: str, known: float | None) -> EyeDistance:
    """The distance between the outer corners of the eyes in a unit, `eyes` or `mm`; `known` as it was measured in mm."""
    if unit == "eyes":
        return EYES
    return ADULTS if known is None else EyeDistance(known)


def head_poses(fit: FaceFit, distance: EyeDistance) -> list[HeadPose]:
    """Poses of fitted heads.

    A large face far away and a small one nearby look alike. So places are divided by the fitted distance between the outer
    corners of the eyes: the share of both is known well.

    Args:
        fit: The heads in space.
        distance: What one distance between the outer corners of the eyes is.
    """
    place, place_sd = _places(fit, distance)
    angles, angles_sd = _angles(fit)
    quaternion, quaternion_sd = _quaternions(fit)
    focal = np.where(fit.known, fit.focal, np.nan)
    rows = np.column_stack([place, angles, quaternion, place_sd, angles_sd, quaternion_sd, focal])
    return [HeadPose(row) for row in rows]


def _places(fit: FaceFit, distance: EyeDistance) -> tuple[FloatArray, FloatArray]:
    """(faces, 3) middles between the outer corners of the eyes, in the unit of `distance`, and their standard deviations."""
    left, right = face_model().mean[[*OUTER_CORNERS]]
    to_left, to_right = face_model().modes[:, [*OUTER_CORNERS]].swapaxes(0, 1)
    arm = (fit.rotation @ ((left + right + fit.shape @ (to_left + to_right)) / 2)[..., None])[..., 0]
    length, stretch = eye_span(fit)
    place = (fit.translation + arm) / length
    # How the place changes with a small turn, the translation, and the coefficients of the modes.
    bend = fit.rotation @ (to_left + to_right).T / 2 - place[..., None] * (stretch * length)[:, None]
    shift = np.broadcast_to(np.eye(3), fit.rotation.shape)
    slope = np.concatenate([-cross_matrices(arm), shift, bend], -1) / length[..., None]
    share = np.hypot(distance.sd / distance.mean, span_sd() / length)
    variance = _variances(slope, fit.covariance) + np.square(share * place)
    return distance.mean * place, distance.mean * np.sqrt(variance)


@cache
def span_sd() -> float:
    """Standard deviation in units of the distance between the outer corners of a person's eyes that the modes leave.

    All places are told in this distance, and it differs by that from the one of the fitted face.
    """
    return float(np.hypot(*face_model().residual[[*OUTER_CORNERS]]))


def eye_span(fit: FaceFit) -> tuple[FloatArray, FloatArray]:
    """(faces, 1) distances between the outer corners of the eyes of fitted faces in units, and (faces, modes) by which share of
    them they change with each coefficient."""
    left, right = face_model().mean[[*OUTER_CORNERS]]
    to_left, to_right = face_model().modes[:, [*OUTER_CORNERS]].swapaxes(0, 1)
    between = right - left + fit.shape @ (to_right - to_left)
    square = np.square(between).sum(1, keepdims=True)
    return np.sqrt(square), between @ (to_right - to_left).T / square


def _angles(fit: FaceFit) -> tuple[FloatArray, FloatArray]:
    """(faces, 3) radians about x, y and z of rotations Rx Ry Rz, and their standard deviations."""
    turn = fit.rotation
    about_x = np.arctan2(-turn[:, 1, 2], turn[:, 2, 2])
    about_y = np.arcsin(np.clip(turn[:, 0, 2], -1.0, 1.0))
    about_z = np.arctan2(-turn[:, 0, 1], turn[:, 0, 0])
    sin_x, cos_x = np.sin(about_x), np.cos(about_x)
    sin_y, cos_y = np.sin(about_y), np.maximum(np.cos(about_y), 1e-6)
    # How the angles change with a small turn about the axes of the camera.
    slope = np.zeros((len(turn), 3, 3))
    slope[:, 0, 0] = 1
    slope[:, 1, 1], slope[:, 1, 2] = cos_x, sin_x
    slope[:, 2, 1], slope[:, 2, 2] = -sin_x / cos_y, cos_x / cos_y
    slope[:, 0, 1:] = -sin_y[:, None] * slope[:, 2, 1:]
    deviation = np.sqrt(_variances(slope, fit.covariance[:, :3, :3]))
    return np.column_stack([about_x, about_y, about_z]), np.minimum(deviation, _MAX_SD)


def _quaternions(fit: FaceFit) -> tuple[FloatArray, FloatArray]:
    """(faces, 4) w, x, y, z, w not negative, and their standard deviations."""
    turn = fit.rotation
    trace = np.trace(turn, axis1=1, axis2=2)
    squares = np.column_stack([trace, 2 * np.diagonal(turn, axis1=1, axis2=2) - trace[:, None]])
    largest = squares.argmax(1)
    a, b, c = turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]
    d, e, f = turn[:, 1, 2], turn[:, 2, 0], turn[:, 0, 1]
    # Four times the products of the components: a row of them is a multiple of the quaternion.
    products = np.empty((len(turn), 4, 4))
    products[:, range(4), range(4)] = 1 + squares
    for i, (difference, total) in enumerate(((a - d, c + f), (b - e, b + e), (c - f, a + d)), 1):
        products[:, 0, i] = products[:, i, 0] = difference
        j, k = ((1, 2), (1, 3), (2, 3))[i - 1]
        products[:, j, k] = products[:, k, j] = total
    row = products[np.arange(len(turn)), largest]
    row = row / np.linalg.norm(row, axis=1, keepdims=True)
    w, x, y, z = row = (row * np.where(row[:, :1] < 0, -1.0, 1.0)).T
    slope = np.array([[-x, -y, -z], [w, z, -y], [-z, w, x], [y, -x, w]]).transpose(2, 0, 1) / 2
    return row.T, np.sqrt(_variances(slope, fit.covariance[:, :3, :3]))


def _variances(slope: FloatArray, covariance: FloatArray) -> FloatArray:
    """(faces, n) variances of what changes by `slope` (faces, n, m) with something of covariance (faces, m, m)."""
    return np.asarray(((slope @ covariance) * slope).sum(-1))
