"""Fits a face in space, with its pose and shape, to points in the image: Gauss-Newton with robust weights.

The face is a mean and modes (`vtrack.data.face_modes`). Axes of the head: x to its left ear as seen in the image (the image's
right), y down, z away from the viewer; lengths in units of the distance between the outer corners of the mean face's eyes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from vtrack.layouts import load_layout
from vtrack.pipelines.measures.points import MEASURE_QUERY
from vtrack.types import FloatArray

_FILE = Path(__file__).with_name("face.safetensors")
_ROUNDS = 5
"""Steps of a fit, from a scaled orthographic view. Steps after them change 1 % of the validation faces of `w68` by more than
0.1 degrees."""
_FREEDOM = 4.0
"""Degrees of freedom of Student's distribution of a point's error."""
_FEWEST = 8
"""Points without which there is no pose."""
_LARGEST_STEP = 0.5
"""Radians by which one step may turn a head."""
_CORRELATION = 1.6
"""Factor of the variances of points, because errors of neighbouring points are alike."""
_LIVELY = {"inner_lip": 0.08, "outer_lip": 0.08, "left_brow": 0.04, "right_brow": 0.04}
"""Further standard deviation of the points of parts that move most, in units: their motion has longer tails than a normal
distribution, and an opening mouth is not a turn."""


@dataclass(frozen=True, eq=False, slots=True)
class FaceModel:
    """The face in space, at the points of `MEASURE_QUERY`."""

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
    covariance: FloatArray
    """(faces, modes, modes)"""


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
def face_model() -> FaceModel:
    """The face that comes with the project."""
    arrays = {name: array.astype(np.float64) for name, array in load_file(_FILE).items()}
    layout = load_layout("300w").query
    places = {
        (part, round(position, 6)): i
        for i, (part, position) in enumerate(zip(layout.parts, layout.positions, strict=True))
    }
    asked = zip(MEASURE_QUERY.parts, MEASURE_QUERY.positions, strict=True)
    chosen = [places[part, round(position, 6)] for part, position in asked]
    lively = np.array([_LIVELY.get(part, 0.0) for part in MEASURE_QUERY.parts])
    residual = np.hypot(arrays["residual"][chosen], lively)
    return FaceModel(arrays["mean"][chosen], arrays["modes"][:, chosen], arrays["person"], residual)


def fit_face(points: FloatArray, sigma: FloatArray, focal: FloatArray, prior: ShapePrior) -> FaceFit:
    """Fit the face to points.

    Args:
        points: (faces, points, 2) the points of `MEASURE_QUERY` in pixels from where the camera's axis meets the image; NaN for
            missing ones.
        sigma: (faces, points) their standard deviations in pixels.
        focal: (faces,) focal length in pixels.
        prior: Distribution of the coefficients.
    """
    model = face_model()
    seen = np.asarray(np.isfinite(points).all(-1) & np.isfinite(sigma))
    known = seen.sum(1) >= _FEWEST
    seen[~known] = True
    offsets = np.where(seen[..., None] & known[:, None, None], points, model.mean[:, :2])
    sigma = np.where(seen, sigma, 1.0)
    rotation, place, scale = _orthographic(offsets, seen, model.mean)
    translation = np.column_stack([place / scale[:, None], focal / scale])
    shape = prior.mean.copy()
    precision = np.linalg.inv(prior.covariance)
    count, by_point = len(model.modes), model.modes.transpose(1, 2, 0)
    information = np.zeros((len(points), 6 + count, 6 + count))
    for _ in range(_ROUNDS):
        turned = (model.mean + np.tensordot(shape, model.modes, 1)) @ rotation.transpose(0, 2, 1)
        space = turned + translation[:, None]
        inverse = focal[:, None] / space[..., 2]
        flat = space[..., :2] / space[..., 2:]
        error = offsets - flat * focal[:, None, None]
        variance = _CORRELATION * (np.square(sigma) + np.square(model.residual * inverse))
        robust = (_FREEDOM + 2) / (_FREEDOM + np.square(error).sum(-1) / variance)
        weight = np.sqrt(np.where(seen, robust / variance, 0.0))[..., None, None]
        slope = np.zeros((*flat.shape, 3))
        slope[..., 0, 0] = slope[..., 1, 1] = inverse
        slope[..., 2] = -flat * inverse[..., None]
        slope *= weight
        x, y, z = np.moveaxis(turned, -1, 0)[..., None]
        a, b, c = np.moveaxis(slope, -1, 0)
        turn = np.stack([y * c - z * b, z * a - x * c, x * b - y * a], -1)
        bend = (slope @ rotation[:, None]) @ by_point  # along the head's axes, then along the modes
        jacobian = np.concatenate([turn, slope, bend], -1).reshape(len(points), -1, 6 + count)
        transposed = jacobian.transpose(0, 2, 1)
        information = transposed @ jacobian
        information[:, 6:, 6:] += precision
        right = transposed @ (error[..., None] * weight).reshape(len(points), -1, 1)
        right[:, 6:] += precision @ (prior.mean - shape)[..., None]
        step = np.linalg.solve(information, right)[..., 0]
        size = np.linalg.norm(step[:, :3], axis=1, keepdims=True)
        step[:, :3] *= _LARGEST_STEP / np.maximum(size, _LARGEST_STEP)
        rotation = rotations(step[:, :3]) @ rotation
        moved = translation + step[:, 3:6]
        # Never behind the camera.
        translation = np.where(moved[:, 2:] > translation[:, 2:] / 2, moved, translation)
        shape = shape + step[:, 6:]
    covariance = np.linalg.inv(information)
    for array in (rotation, translation, shape, covariance):
        array[~known] = np.nan
    return FaceFit(rotation, translation, shape, covariance, focal, known)


def rotations(vectors: FloatArray) -> FloatArray:
    """(n, 3, 3) rotations about vectors (n, 3) by their lengths in radians."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, 2, 1], cross[:, 0, 2], cross[:, 1, 0] = vectors.T
    cross -= cross.transpose(0, 2, 1)
    # sin(a) / a and (1 - cos(a)) / a^2, whose limits at 0 are 1 and 1 / 2.
    half = np.sinc(angle / 2 / np.pi)
    return np.eye(3) + np.sinc(angle / np.pi) * cross + half * half / 2 * cross @ cross


def pixels_per_unit(points: FloatArray) -> FloatArray:
    """(faces,) length of one unit in pixels, by a scaled orthographic view of the mean face; NaN where too few are known."""
    seen = np.asarray(np.isfinite(points).all(-1))
    known = seen.sum(1) >= _FEWEST
    seen[~known] = True
    mean = face_model().mean
    _, _, scale = _orthographic(np.where(seen[..., None] & known[:, None, None], points, mean[:, :2]), seen, mean)
    return np.where(known, scale, np.nan)


def _orthographic(offsets: FloatArray, seen: np.ndarray, mean: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The scaled orthographic view in which the mean face fits best.

    Returns:
        (faces, 3, 3) rotation, (faces, 2) place of the head's origin and (faces,) pixels of a unit.
    """
    weights = seen / seen.sum(1, keepdims=True)
    middle, center = weights @ mean, (weights[:, None] @ offsets)[:, 0]
    local = mean - middle[:, None]
    weighted = local.transpose(0, 2, 1) * weights[:, None]
    affine = np.linalg.pinv(weighted @ local, rcond=1e-6) @ (weighted @ (offsets - center[:, None]))
    left, sizes, right = np.linalg.svd(affine.transpose(0, 2, 1), full_matrices=False)
    rows = left @ right
    rotation = np.concatenate([rows, np.cross(rows[:, :1], rows[:, 1:])], 1)
    scale = np.maximum(sizes.mean(1), 1e-6)
    return rotation, center - scale[:, None] * (rows @ middle[..., None])[..., 0], scale
