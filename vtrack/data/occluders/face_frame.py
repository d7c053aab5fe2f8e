"""Coordinates of a face: its eyes at (-1/2, 0) and (1/2, 0), its mouth at (0, 1), whatever its place, size and roll."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtrack.layouts import Layout
from vtrack.types import FloatArray

_FEATURES = (
    (("left_eye", "left_mesh_eye"), (0.3, 0.3)),
    (("right_eye", "right_mesh_eye"), (0.7, 0.3)),
    (("outer_lip", "mesh_outer_lip"), (0.5, 0.8)),
)
"""The parts whose middle is a feature, the first that a layout has, and where in the box of all points it lies in others."""


@dataclass(frozen=True, eq=False, slots=True)
class FaceFrame:
    """An affine map from coordinates of a face to pixels of a crop."""

    origin: FloatArray
    """(2,) middle between the eyes."""
    axes: FloatArray
    """(2, 2) rows: from eye to eye, and from the eyes to the mouth."""

    @classmethod
    def of(cls, points: FloatArray, layout: Layout) -> FaceFrame:
        """The frame of a face with the points (L, 2) of a layout, in pixels."""
        low, size = points.min(0), np.ptp(points, axis=0)
        middles = []
        for parts, place in _FEATURES:
            found = next((places for part in parts if (places := layout.query.indices(part))), None)
            middles.append(points[found].mean(0) if found else low + size * place)
        left, right, mouth = middles
        origin = (left + right) / 2
        return cls(origin, np.stack([right - left, mouth - origin]))

    @property
    def unit(self) -> float:
        """A length in pixels that turning the head hardly changes: the longer of both axes."""
        return max(float(np.linalg.norm(self.axes, axis=1).max()), 1.0)

    def to_pixels(self, places: FloatArray) -> FloatArray:
        """Places (..., 2) of the face in pixels."""
        return self.origin + places @ self.axes
