"""Fits a face in space, with its pose and shape, to points in the image: Gauss-Newton with robust weights.

The face is a mean and modes (`vtrack.data.face_modes`). Axes of the head: x to its left ear as seen in the image (the image's
right), y down, z away from the viewer; lengths in units of the distance between the outer corners of the mean face's eyes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from vtrack.layouts import load_layout
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.types import FloatArray, Query

_FILE = Path(__file__).with_name("face.safetensors")
_ROUNDS = 5
"""Most steps of a fit, from a scaled orthographic view. Steps after them change 1 % of the validation faces of `w68` by more
than 0.1 degrees."""
_STILL = 2e-3
"""Turn in radians of a step after which a face is left alone: further ones would turn it by 0.05 degrees at most."""
_FREEDOM = 4.0
"""Degrees of freedom of Student's distribution of a point's error."""
_FEWEST = 8
"""Points without which there is no pose."""
_LARGEST_STEP = 0.5
"""Radians by which one step may turn a head."""
_CORRELATION = 1.6
"""Factor of the variances of points, because errors of neighbouring points are alike."""
_FLAT = 1e-8
"""Variance in square units that is added to that of points along each axis."""
_CROSS = np.cross(np.eye(3), np.eye(3)[:, None]).swapaxes(0, 1).swapaxes(1, 2).reshape(3, 9)
"""Flat matrices of the cross products of the axes with vectors."""
_LIVELY = {"inner_lip": 0.08, "outer_lip": 0.08, "left_brow": 0.04, "right_brow": 0.04}
"""Further standard deviation of the points of parts that move most, in units: their motion has longer tails than a normal
distribution, and an opening mouth is not a turn."""


@dataclass(frozen=True, eq=False, slots=True)
class FaceModel:
    """The face in space, at the points of a query."""

    mean: FloatArray
    """(points, 3)"""
    modes: FloatArray
    """(modes, points, 3) offsets by one standard deviation."""
    person: FloatArray
    """(modes,) share of the variance that stays with the person."""
    residual: FloatArray
    """(points,) standard deviation of each coordinate that the modes leave, in units."""


@dataclass(frozen=True, eq=False, slots=True)
class ShapePrior:
    """What is known of the coefficients of the modes before a fit."""

    mean: FloatArray
    """(faces, modes)"""
    precision: FloatArray
    """(faces, modes, modes) inverse of the covariance."""


@dataclass(frozen=True, eq=False, slots=True)
class FaceFit:
    """Faces in space. NaN where too few points are known."""

    rotation: FloatArray
    """(faces, 3, 3) from the axes of the head to those of the camera."""
    translation: FloatArray
    """(faces, 3) of the head's origin, the middle between the outer corners of the eyes, from the camera."""
    shape: FloatArray
    """(faces, modes) coefficients."""
    covariance: FloatArray
    """(faces, 6 + modes, 6 + modes) of a small turn about the camera's axes, the translation and the coefficients."""
    focal: FloatArray
    """(faces,) focal length in pixels that they were fitted with."""
    known: np.ndarray = field(repr=False)
    """(faces,) bool: whether there is a fit."""


@cache
def face_model(query: Query = MEASURE_QUERY) -> FaceModel:
    """The face that comes with the project, at points of the layout `300w`."""
    arrays = {name: array.astype(np.float64) for name, array in load_file(_FILE).items()}
    layout = load_layout("300w").query
    places = {
        (part, round(position, 6)): i
        for i, (part, position) in enumerate(zip(layout.parts, layout.positions, strict=True))
    }
    asked = zip(query.parts, query.positions, strict=True)
    chosen = [places[part, round(position, 6)] for part, position in asked]
    lively = np.array([_LIVELY.get(part, 0.0) for part in query.parts])
    residual = np.hypot(arrays["residual"][chosen], lively)
    return FaceModel(arrays["mean"][chosen], arrays["modes"][:, chosen], arrays["person"], residual)


class View(NamedTuple):
    """Points, and the scaled orthographic view in which the mean face fits them best: where a fit starts."""

    points: FloatArray
    """(faces, points, 2) those of the mean face where they are not known."""
    seen: np.ndarray
    """(faces, points) bool: which of them count."""
    known: np.ndarray
    """(faces,) bool: whether enough points are known."""
    rotation: FloatArray
    """(faces, 3, 3)"""
    place: FloatArray
    """(faces, 2) of the head's origin in pixels."""
    scale: FloatArray
    """(faces,) pixels of a unit."""


def view_of(points: FloatArray, sigma: FloatArray) -> View:
    """Return the view of faces.

    Args:
        points: (faces, points, 2) the points of `MEASURE_QUERY` in pixels from where the camera's axis meets the image; NaN for
            missing ones.
        sigma: (faces, points) their standard deviations in pixels.
    """
    mean = face_model().mean
    seen = np.asarray(np.isfinite(points).all(-1) & np.isfinite(sigma))
    known = seen.sum(1) >= _FEWEST
    seen[~known] = True
    places = np.where(seen[..., None] & known[:, None, None], points, mean[:, :2])
    return View(places, seen, known, *_orthographic(places, seen, mean))


def fit_face(view: View, sigma: FloatArray, focal: FloatArray, prior: ShapePrior) -> FaceFit:
    """Fit the face to points.

    Args:
        view: The points.
        sigma: (faces, points) their standard deviations in pixels.
        focal: (faces,) focal length in pixels.
        prior: Distribution of the coefficients.
    """
    model, (points, seen, known, rotation, place, scale) = face_model(), view
    count, by_point = len(model.modes), np.ascontiguousarray(model.modes.transpose(1, 2, 0))
    # Times the degrees of freedom: the weight of a point is (freedom + 2) / (freedom * variance + error^2).
    noise = _FREEDOM * _CORRELATION * np.square(np.where(seen, sigma, 1.0))
    residual = _FREEDOM * _CORRELATION * np.square(model.residual)
    freedom = np.where(seen, _FREEDOM + 2, 0.0)
    modes, focals = model.modes.reshape(count, -1), focal[:, None]
    translation = np.column_stack([place / scale[:, None], focal / scale])
    shape, precision = prior.mean, prior.precision
    slope = np.zeros((*points.shape, 3))
    jacobian = np.empty((*points.shape, 6 + count))
    rows = jacobian.reshape(len(points), -1, 6 + count)
    transposed, information = rows.transpose(0, 2, 1), np.empty((len(points), 6 + count, 6 + count))
    moving = np.ones(len(points), bool)
    for _ in range(_ROUNDS):
        turned = (model.mean + (shape @ modes).reshape(-1, *model.mean.shape)) @ rotation.transpose(0, 2, 1)
        space = turned + translation[:, None]
        inverse = 1 / space[..., 2]
        flat, inverse = space[..., :2] * inverse[..., None], inverse * focals
        error = points - flat * focals[..., None]
        weight = np.sqrt(freedom / (noise + residual * np.square(inverse) + np.square(error).sum(-1)))
        inverse *= weight
        slope[..., 0, 0] = slope[..., 1, 1] = inverse
        slope[..., 2] = flat * -inverse[..., None]
        # A small turn about the axes of the camera, the translation, and the coefficients.
        x, y, z = turned.transpose(2, 0, 1)
        across, down = slope[..., 0, 2], slope[..., 1, 2]
        jacobian[..., 0, 0], jacobian[..., 1, 0] = y * across, y * down - z * inverse
        jacobian[..., 0, 1], jacobian[..., 1, 1] = z * inverse - x * across, -x * down
        jacobian[..., 0, 2], jacobian[..., 1, 2] = -y * inverse, x * inverse
        jacobian[..., 3:6] = slope
        along = slope.reshape(len(points), -1, 3) @ rotation  # the axes of the head
        jacobian[..., 6:] = along.reshape(slope.shape) @ by_point
        now = transposed @ rows
        now[:, 6:, 6:] += precision
        information[moving] = now[moving]
        right = transposed @ (error * weight[..., None]).reshape(len(points), -1, 1)
        right[:, 6:] += precision @ (prior.mean - shape)[..., None]
        step = np.linalg.solve(information, right)[..., 0] * moving[:, None]
        size = np.sqrt(np.square(step[:, :3]).sum(1, keepdims=True))
        step[:, :3] *= _LARGEST_STEP / np.maximum(size, _LARGEST_STEP)
        rotation = rotations(step[:, :3]) @ rotation
        moved = translation + step[:, 3:6]
        # Never behind the camera.
        translation = np.where(moved[:, 2:] > translation[:, 2:] / 2, moved, translation)
        shape = shape + step[:, 6:]
        moving &= size[:, 0] > _STILL
        if not moving.any():
            break
    covariance = np.linalg.inv(information)
    if not known.all():
        for array in (rotation, translation, shape, covariance):
            array[~known] = np.nan
    return FaceFit(rotation, translation, shape, covariance, focal, known)


def rotations(vectors: FloatArray) -> FloatArray:
    """(n, 3, 3) rotations about vectors (n, 3) by their lengths in radians."""
    # Near 0 the quotients below are at their limits.
    angle = np.maximum(np.sqrt(np.square(vectors).sum(1)), 1e-9)[:, None, None]
    cross = cross_matrices(vectors)
    half = np.sin(angle / 2) / (angle / 2)
    return np.eye(3) + np.sin(angle) / angle * cross + half * half / 2 * cross @ cross


def cross_matrices(vectors: FloatArray) -> FloatArray:
    """(n, 3, 3) matrices of the cross products of vectors (n, 3) with others."""
    return (vectors @ _CROSS).reshape(-1, 3, 3)


def _orthographic(offsets: FloatArray, seen: np.ndarray, mean: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The scaled orthographic view in which the mean face fits best.

    Returns:
        (faces, 3, 3) rotation, (faces, 2) place of the head's origin and (faces,) pixels of a unit.
    """
    weights = seen / seen.sum(1, keepdims=True)
    middle, center = weights @ mean, (weights[:, None] @ offsets)[:, 0]
    local = mean - middle[:, None]
    weighted = local.transpose(0, 2, 1) * weights[:, None]
    # Points in a plane do not tell how depth is seen: then it is not seen at all.
    spread = weighted @ local + _FLAT * np.eye(3)
    affine = np.linalg.solve(spread, weighted @ (offsets - center[:, None]))
    left, sizes, right = np.linalg.svd(affine.transpose(0, 2, 1), full_matrices=False)
    rows = left @ right
    x, y = rows[:, 0], rows[:, 1]
    z = x[:, [1, 2, 0]] * y[:, [2, 0, 1]] - x[:, [2, 0, 1]] * y[:, [1, 2, 0]]  # np.cross takes longer than all of this
    rotation = np.concatenate([rows, z[:, None]], 1)
    scale = np.maximum(sizes.mean(1), 1e-6)
    return rotation, center - scale[:, None] * (rows @ middle[..., None])[..., 0], scale
