"""Shape measures of eyes, mouth and brows, as functions of points.

Lengths are relative to the distance between the outer corners of the eyes. Vertical lengths are divided by that distance
seen from the front (`unit`, from `HeadPoses`); widths by the distance in the image, which shrinks with them as the head
turns.
"""

from __future__ import annotations

import numpy as np

from vtrack.pipelines.measures.points import MEASURE_POSITIONS, MEASURE_QUERY
from vtrack.types import FloatArray

INDICES = {part: np.array(MEASURE_QUERY.indices(part)) for part in MEASURE_POSITIONS}
"""Indices in `MEASURE_QUERY` of the points of each part."""
LEFT_EYE, RIGHT_EYE = INDICES["left_eye"], INDICES["right_eye"]
OUTER_CORNERS = int(LEFT_EYE[0]), int(RIGHT_EYE[3])
"""Indices in `MEASURE_QUERY` of the outer corners of the eyes."""
_EPSILON = 1e-9


def eye_opening(points: FloatArray) -> FloatArray:
    """Return the eye aspect ratio (..., 2) of the left and right eye: mean height over width.

    Args:
        points: (..., points, 2) the points of `MEASURE_QUERY`.
    """
    return np.stack([_aspect_ratio(points[..., eye, :]) for eye in (LEFT_EYE, RIGHT_EYE)], -1)


def eye_opening_sigma(points: FloatArray, sigma: FloatArray, opening: FloatArray) -> FloatArray:
    """Return the standard deviation (..., 2) of the opening of the left and right eye, with independent errors of points.

    Args:
        points: (..., points, 2) the points of `MEASURE_QUERY`.
        sigma: (..., points) their standard deviations.
        opening: (..., 2) the result of `eye_opening`.
    """
    deviations = []
    for side, eye in enumerate((LEFT_EYE, RIGHT_EYE)):
        variance = np.square(sigma[..., eye])
        width = np.maximum(np.linalg.norm(points[..., eye[3], :] - points[..., eye[0], :], axis=-1), _EPSILON)
        lids, corners = variance[..., [1, 2, 4, 5]].sum(-1) / 4, variance[..., [0, 3]].sum(-1)
        deviations.append(np.sqrt(lids + np.square(opening[..., side]) * corners) / width)
    return np.stack(deviations, -1)


def mouth_opening(points: FloatArray, unit: FloatArray) -> FloatArray:
    """Return the mean gap between the lips (...), in units.

    Args:
        points: (..., points, 2) the points of `MEASURE_QUERY`.
        unit: (...) length of one unit in pixels.
    """
    lip = points[..., INDICES["inner_lip"], :]
    return np.linalg.norm(lip[..., [5, 6, 7], :] - lip[..., [3, 2, 1], :], axis=-1).mean(-1) / unit


def smile_width(points: FloatArray) -> FloatArray:
    """Return the distance between the corners of the mouth over that between the outer corners of the eyes (...).

    Args:
        points: (..., points, 2) the points of `MEASURE_QUERY`.
    """
    corners = points[..., INDICES["outer_lip"], :]
    width = np.linalg.norm(corners[..., 0, :] - corners[..., 1, :], axis=-1)
    return width / np.maximum(np.linalg.norm(_eye_axis(points), axis=-1), _EPSILON)


def brow_raise(points: FloatArray, unit: FloatArray) -> FloatArray:
    """Return the height (..., 2) of the left and right brow above the middle of its eye's corners, in units.

    Args:
        points: (..., points, 2) the points of `MEASURE_QUERY`.
        unit: (...) length of one unit in pixels.
    """
    axis = _eye_axis(points)
    length = np.maximum(np.linalg.norm(axis, axis=-1, keepdims=True), _EPSILON)
    up = np.stack([axis[..., 1], -axis[..., 0]], -1) / length
    heights = []
    for brow, eye in (("left_brow", LEFT_EYE), ("right_brow", RIGHT_EYE)):
        offset = points[..., INDICES[brow], :].mean(-2) - points[..., eye[[0, 3]], :].mean(-2)
        heights.append((offset * up).sum(-1) / unit)
    return np.stack(heights, -1)


def _aspect_ratio(eye: FloatArray) -> FloatArray:
    """Return the mean height over the width (...) of an eye's six points (..., 6, 2)."""
    heights = np.linalg.norm(eye[..., [1, 2], :] - eye[..., [5, 4], :], axis=-1).mean(-1)
    return heights / np.maximum(np.linalg.norm(eye[..., 3, :] - eye[..., 0, :], axis=-1), _EPSILON)


def _eye_axis(points: FloatArray) -> FloatArray:
    """Return the vector (..., 2) from the outer corner of the left eye to that of the right."""
    left, right = OUTER_CORNERS
    return points[..., right, :] - points[..., left, :]
