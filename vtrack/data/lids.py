"""Converts eyelids of mediapipe's mesh to points of `left_eye` and `right_eye`, and closes them where an eye is closed.

The lids of the mesh lie beside those that people mark, and do not meet in a closed eye: a quarter of the opening of the open
eye remains. A linear map, learned on faces that have both annotations, converts one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.layouts import Layout
from vtrack.types import FloatArray

POINTS = 6
"""Points of an eye in the layout `300w`: left corner, two of the upper lid, right corner, two of the lower lid."""
_UPPER, _LOWER = (1, 2), (5, 4)
"""Opposite points of the lids."""
_RIDGE = 1e-3
"""Regularisation of the linear map."""
SHUT, OPEN = 0.10, 0.24
"""Openings (height over width) of the mesh for a closed eye, and above which the mesh's opening is used unchanged."""
_LINE = 0.75
"""Where closed lids meet, from the open upper lid (0) to the lower (1), which hardly moves."""


@dataclass(frozen=True, eq=False, slots=True)
class LidMap:
    """A linear map from the mesh's 16 points around an eye to the six points of `300w`, relative to the mesh's eye corners."""

    weights: FloatArray
    """(2 * 16 + 1, 2 * 6)"""

    @classmethod
    def learn(cls, rings: FloatArray, eyes: FloatArray) -> LidMap:
        """Fit by ridge regression on mesh points (n, 16, 2) and annotated points (n, 6, 2) of the same eyes."""
        inside, outside = _frames(rings), _frames(rings, eyes)
        features = _features(inside)
        square = features.T @ features + _RIDGE * len(features) * np.eye(features.shape[1])
        return cls(np.linalg.solve(square, features.T @ outside.reshape(len(outside), -1)))

    def __call__(self, rings: FloatArray) -> FloatArray:
        """(n, 6, 2) points from mesh points (n, 16, 2), in pixels."""
        local = (_features(_frames(rings)) @ self.weights).reshape(len(rings), POINTS, 2)
        origin, axis = _corners(rings)
        return _real(_complex(local) * axis[:, None] + origin[:, None])


def _corners(rings: FloatArray) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.complex128]]:
    """Midpoint of the corners of each eye, and the vector from the first corner to the other."""
    first, last = _complex(rings[:, 0]), _complex(rings[:, rings.shape[1] // 2])
    return (first + last) / 2, last - first


def _frames(rings: FloatArray, points: FloatArray | None = None) -> FloatArray:
    """Points (n, k, 2), by default the rings, in coordinates of the eye: corners at (-1/2, 0) and (1/2, 0)."""
    origin, axis = _corners(rings)
    return _real((_complex(rings if points is None else points) - origin[:, None]) / axis[:, None])


def _features(local: FloatArray) -> FloatArray:
    return np.concatenate([local.reshape(len(local), -1), np.ones((len(local), 1))], 1)


def _complex(points: FloatArray) -> npt.NDArray[np.complex128]:
    points = np.asarray(points, np.float64)
    return np.asarray(points[..., 0] + 1j * points[..., 1])


def _real(points: npt.NDArray[np.complex128]) -> FloatArray:
    return np.stack([points.real, points.imag], -1)


def eye_points(layout: Layout, side: str, part: str = "eye") -> list[int]:
    """Indices of the points of an eye in a layout, in order of their positions."""
    places = layout.query.indices(f"{side}_{part}")
    return sorted(places, key=lambda i: layout.query.positions[i])


def opening(eyes: FloatArray) -> FloatArray:
    """(n,) height over width of eyes (n, points, 2), whose even number of points runs round the eye from the left corner."""
    count = eyes.shape[1]
    upper = eyes[:, 1 : count // 2]
    lower = eyes[:, : count // 2 : -1]
    width = np.linalg.norm(eyes[:, 0] - eyes[:, count // 2], axis=-1)
    return np.linalg.norm(upper - lower, axis=-1).max(1) / width


def narrowed(eyes: FloatArray, share: FloatArray) -> FloatArray:
    """Reduce the opening of eyes (n, 6, 2) to shares (n,) of it; 0 closes them, on a line near the lower lid."""
    narrow = np.array(eyes, np.float64)
    for up, low in zip(_UPPER, _LOWER, strict=True):
        upper, lower = eyes[:, up], eyes[:, low]
        line = upper + _LINE * (lower - upper)
        for place, lid in ((up, upper), (low, lower)):
            narrow[:, place] = line + share[:, None] * (lid - line)
    return narrow


def share_left(openings: FloatArray, shut: npt.NDArray[np.bool_]) -> FloatArray:
    """(n,) share of its opening that an eye keeps, for openings (n,) of the mesh: 0 where people judged it closed.

    Otherwise openings below `SHUT` are closed, those above `OPEN` kept, and those between reduced linearly.
    """
    soft = ((openings - SHUT) / (OPEN - SHUT)).clip(0, 1) * OPEN / np.maximum(openings, 1e-6)
    return np.where(shut, 0.0, np.where(openings < OPEN, soft.clip(0, 1), 1.0))
