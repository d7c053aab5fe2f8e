"""Eyelids of mediapipe's mesh as points of `left_eye` and `right_eye`, and lids that are brought together where an eye is shut.

The mesh's lids lie beside those that people mark, and do not meet when an eye shuts: a quarter of the open eye's
opening stays. A linear map, learned on faces that have both, turns the one into the other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.layouts import Layout
from vtrack.types import FloatArray

POINTS = 6
"""Of an eye in the layout `300w`: the outer or left corner, two of the upper lid, the other corner, two of the lower."""
_UPPER, _LOWER = (1, 2), (5, 4)
"""Points of an eye that face each other."""
_RIDGE = 1e-3
SHUT, OPEN = 0.10, 0.24
"""Openings (height over width) that the mesh gives an eye that is shut, and one from which on it may be believed."""
_LINE = 0.75
"""Where the upper lid ends when it shuts: this far from it to the lower lid, which hardly moves."""


@dataclass(frozen=True, eq=False, slots=True)
class LidMap:
    """From the mesh's ring around an eye to the eye's six points, both in the frame of the mesh's corners."""

    weights: FloatArray
    """(2 * 16 + 1, 2 * 6)"""

    @classmethod
    def learn(cls, rings: FloatArray, eyes: FloatArray) -> LidMap:
        """From rings (n, 16, 2) of the mesh and points (n, 6, 2) of the same eyes."""
        inside, outside = _frames(rings), _frames(rings, eyes)
        features = _features(inside)
        square = features.T @ features + _RIDGE * len(features) * np.eye(features.shape[1])
        return cls(np.linalg.solve(square, features.T @ outside.reshape(len(outside), -1)))

    def __call__(self, rings: FloatArray) -> FloatArray:
        """(n, 6, 2) points of eyes from their rings (n, 16, 2), in pixels."""
        local = (_features(_frames(rings)) @ self.weights).reshape(len(rings), POINTS, 2)
        origin, axis = _corners(rings)
        return _real(_complex(local) * axis[:, None] + origin[:, None])


def _corners(rings: FloatArray) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.complex128]]:
    """The middle between an eye's corners, and the way from the one to the other."""
    first, last = _complex(rings[:, 0]), _complex(rings[:, rings.shape[1] // 2])
    return (first + last) / 2, last - first


def _frames(rings: FloatArray, points: FloatArray | None = None) -> FloatArray:
    """Points (n, k, 2), or the rings themselves, in units of their eyes: middle 0, corners at -1/2 and 1/2."""
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
    """Places of an eye's points in a layout, in order of their positions."""
    places = layout.query.indices(f"{side}_{part}")
    return sorted(places, key=lambda i: layout.query.positions[i])


def opening(eyes: FloatArray) -> FloatArray:
    """(n,) height over width of eyes (n, points, 2), an even number of points in order round the eye from corner to corner."""
    count = eyes.shape[1]
    upper = eyes[:, 1 : count // 2]
    lower = eyes[:, : count // 2 : -1]
    width = np.linalg.norm(eyes[:, 0] - eyes[:, count // 2], axis=-1)
    return np.linalg.norm(upper - lower, axis=-1).max(1) / width


def narrowed(eyes: FloatArray, share: FloatArray) -> FloatArray:
    """Eyes (n, 6, 2) opened to a share (n,) of what they are: 0 lays both lids on one line, close to the lower."""
    narrow = np.array(eyes, np.float64)
    for up, low in zip(_UPPER, _LOWER, strict=True):
        upper, lower = eyes[:, up], eyes[:, low]
        line = upper + _LINE * (lower - upper)
        for place, lid in ((up, upper), (low, lower)):
            narrow[:, place] = line + share[:, None] * (lid - line)
    return narrow


def share_left(openings: FloatArray, shut: npt.NDArray[np.bool_]) -> FloatArray:
    """(n,) how much of its opening an eye keeps: none where a person says `shut`, else by what the mesh sees.

    Between `SHUT` and `OPEN` the rest of a slit is taken off bit by bit.
    """
    soft = ((openings - SHUT) / (OPEN - SHUT)).clip(0, 1) * OPEN / np.maximum(openings, 1e-6)
    return np.where(shut, 0.0, np.where(openings < OPEN, soft.clip(0, 1), 1.0))
