"""Shapes of eyes, mouth and brows, as functions of points.

Lengths are relative to the distance between the outer corners of the eyes. Vertical lengths are divided by that distance
seen from the front (`unit`, from `HeadPoses`); widths by the distance in the image, which shrinks with them as the head
turns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vtrack.pipelines.measures.points import MEASURE_POSITIONS, MEASURE_QUERY
from vtrack.types import FloatArray

INDICES = {part: np.array(MEASURE_QUERY.indices(part)) for part in MEASURE_POSITIONS}
"""Indices in `MEASURE_QUERY` of the points of each part."""
_EYES = np.array([INDICES["left_eye"], INDICES["right_eye"]])
OUTER_CORNERS = int(_EYES[0, 0]), int(_EYES[1, 3])
"""Indices in `MEASURE_QUERY` of the outer corners of the eyes."""
_CORNERS, _LIDS = _EYES[:, [0, 3]], _EYES[:, [1, 2, 5, 4]]
_LIP, _BROWS = INDICES["inner_lip"], np.array([INDICES["left_brow"], INDICES["right_brow"]])
_VECTORS = {
    "heights": _LIDS.reshape(2, 2, 2).swapaxes(1, 2),  # two of each eye
    "widths": _CORNERS,
    "gaps": np.stack([_LIP[[3, 2, 1]], _LIP[[5, 6, 7]]], 1),
    "mouth": INDICES["outer_lip"],
    "axis": np.array(OUTER_CORNERS),
    "brows": np.stack(np.broadcast_arrays(_CORNERS[:, :, None], _BROWS[:, None]), -1),  # from each corner to each point
}
"""Points from and to which vectors are measured, (..., 2) each."""
_ENDS = np.concatenate([ends.reshape(-1, 2) for ends in _VECTORS.values()]).T
_COUNTS = np.cumsum([ends.size // 2 for ends in _VECTORS.values()])[:-1]
_EPSILON = 1e-9


class Shapes(NamedTuple):
    """Shapes of the parts of faces."""

    eyes: FloatArray
    """(faces, 2) opening of the left and right eye: mean height over width."""
    eyes_sigma: FloatArray
    """(faces, 2) standard deviations of these, with independent errors of points."""
    mouth: FloatArray
    """(faces,) mean gap between the lips, in units."""
    smile: FloatArray
    """(faces,) distance between the corners of the mouth over that between the outer corners of the eyes."""
    brows: FloatArray
    """(faces, 2) height of the left and right brow above the middle of its eye's corners, in units."""


def measure_shapes(points: FloatArray, sigma: FloatArray, unit: FloatArray) -> Shapes:
    """Measure shapes.

    Args:
        points: (faces, points, 2) the points of `MEASURE_QUERY`.
        sigma: (faces, points) their standard deviations.
        unit: (faces,) length of one unit in pixels.
    """
    starts, ends = points[:, _ENDS].swapaxes(0, 1)
    vectors = ends - starts
    lengths, variance = np.sqrt(np.square(vectors).sum(-1)), np.square(sigma)
    heights, widths, gaps, mouth, axis, _ = np.split(lengths, _COUNTS, 1)
    widths, axis = np.maximum(widths, _EPSILON), np.maximum(axis, _EPSILON)
    eyes = heights.reshape(-1, 2, 2).sum(-1) / 2 / widths
    lids, corners = variance[:, _LIDS].sum(-1) / 4, variance[:, _CORNERS].sum(-1)
    x, y = vectors[:, _COUNTS[-2]].T
    above = vectors[:, _COUNTS[-1] :, 0] * y[:, None] - vectors[:, _COUNTS[-1] :, 1] * x[:, None]
    brows = above.reshape(len(points), 2, -1)
    return Shapes(
        eyes,
        np.sqrt(lids + np.square(eyes) * corners) / widths,
        gaps.sum(1) / gaps.shape[1] / unit,
        (mouth / axis)[:, 0],
        brows.sum(-1) / brows.shape[-1] / axis / unit[:, None],
    )
