"""Similarity motion in the plane: splits moving points into shift, rotation and scale of the whole, and the rest.

Points are complex numbers here, so a similarity is `shift + turn * point` with two complex numbers, and isotropic noise of
the points gives isotropic noise of both.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vtrack.types import FloatArray

ComplexArray = npt.NDArray[np.complexfloating]


def to_complex(points: FloatArray) -> ComplexArray:
    """(..., 2) x, y to (...) x + iy."""
    return np.ascontiguousarray(points, np.float64).view(np.complex128)[..., 0]


def to_plane(numbers: ComplexArray) -> FloatArray:
    """(...) x + iy to (..., 2) x, y."""
    return np.ascontiguousarray(numbers, np.complex128)[..., None].view(np.float64)


def normalised(points: ComplexArray, weights: FloatArray) -> ComplexArray:
    """(tracks, points) moved and scaled so that the weighted centre is 0 and the weighted mean square radius 1."""
    shares = weights / weights.sum(-1, keepdims=True)
    centred = points - _sum(points, shares)[..., None]
    return centred / np.sqrt(_sum(np.square(np.abs(centred)), shares))[..., None]


def fit(shape: ComplexArray, points: ComplexArray, weights: FloatArray) -> tuple[ComplexArray, ComplexArray]:
    """The similarity that brings a shape nearest to points, by weighted least squares.

    Args:
        shape: (tracks, points).
        points: (tracks, points); points of weight 0 may be anything finite.
        weights: (tracks, points), not negative.

    Returns:
        Shift (tracks,) and turn (tracks,); the turn's absolute value is the scale, its angle the roll.
    """
    shares = weights / weights.sum(-1, keepdims=True)
    shape_centre, centre = _sum(shape, shares), _sum(points, shares)
    arms = shape - shape_centre[..., None]
    weighted = arms.conj() * shares
    turn = _sum(points - centre[..., None], weighted) / _sum(arms, weighted).real
    return centre - turn * shape_centre, turn


def _sum(values: ComplexArray | FloatArray, weights: ComplexArray | FloatArray) -> ComplexArray:
    """(tracks, points) to the weighted sum (tracks,)."""
    total: ComplexArray = np.einsum("...p,...p->...", values, weights)
    return total


class Body:
    """Splits the points of each track into a similarity motion of the whole and the motion of parts.

    The similarity maps the track's first shape of its anchors onto them. Its `shift` and `turn` are in pixels; the rest,
    `parts`, is in units of the anchors' root mean square radius.

    Args:
        tracks: Number of tracks; `grow` adds more.
        anchors: Indices of the points that define the whole.
    """

    DOUBT = 3.0
    """Standard deviations between an anchor and the fit of the others at which it loses half its weight."""

    def __init__(self, tracks: int, anchors: npt.NDArray[np.intp]) -> None:
        self.anchors = anchors
        self._shapes = np.zeros((tracks, len(anchors)), np.complex128)

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        extra = np.zeros((tracks - len(self._shapes), len(self.anchors)), np.complex128)
        self._shapes = np.concatenate([self._shapes, extra])

    def split(
        self, points: ComplexArray, sigma: FloatArray, expected: ComplexArray
    ) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """Split points into parts, shift and turn.

        Anchors that contradict the others, or have a large sigma, get little weight.

        Args:
            points: (tracks, points), NaN where not measured.
            sigma: (tracks, points) standard deviations.
            expected: (tracks, points) predicted parts, NaN where there are none. A track without expected anchors starts: if
                all its anchors are measured, their shape becomes the track's own.

        Returns:
            Parts (tracks, points), shift (tracks,) and turn (tracks,); NaN where they cannot be computed.
        """
        parts = np.full(points.shape, complex(np.nan, np.nan))
        shift = np.full(len(points), complex(np.nan, np.nan))
        turn = shift.copy()
        anchors, spread, predicted = points[:, self.anchors], sigma[:, self.anchors], expected[:, self.anchors]
        measured, known = np.asarray(np.isfinite(anchors)), np.asarray(np.isfinite(predicted))
        rows = np.flatnonzero(np.where(known.any(1), measured.sum(1) >= 2, measured.all(1)))
        if not len(rows):
            return parts, shift, turn
        if len(rows) < len(points):
            measured, known, points = measured[rows], known[rows], points[rows]
            anchors, spread, predicted = anchors[rows], spread[rows], predicted[rows]
        anchors, spread = np.where(measured, anchors, 0.0), np.where(measured, spread, 1.0)
        new = np.asarray(~known.any(1))
        weights = measured / spread**2
        whole = np.where(known, predicted, 0.0)
        if new.any():
            whole = np.where(new[:, None], normalised(anchors, weights), whole)
            self._shapes[rows[new]] = whole[new]
        # Weights that change from frame to frame would cause jitter of the whole once the shape differs from the first one.
        # So doubtful anchors are moved to where the others predict them, and then all have the same weight.
        for _ in range(2):
            moved, turned = fit(whole, anchors, weights)
            fitted = moved[:, None] + turned[:, None] * whole
            trust = 1 / (1 + np.square(np.abs(anchors - fitted) / (self.DOUBT * spread)))
            weights = measured * trust / spread**2
        blend = measured * trust * np.minimum(1.0, np.square(_typical(spread, measured) / spread))
        agreed = blend * anchors + (1 - blend) * fitted
        shift[rows], turn[rows] = fit(self._shapes[rows], agreed, np.ones(agreed.shape))
        parts[rows] = (points - shift[rows, None]) / turn[rows, None]
        return parts, shift, turn


def _typical(values: FloatArray, measured: npt.NDArray[np.bool_]) -> FloatArray:
    """(tracks, points) to the median of what is measured, (tracks, 1)."""
    return known_median(np.where(measured, values, np.nan))


def known_median(values: FloatArray) -> FloatArray:
    """(tracks, points) to the median of what is not NaN, (tracks, 1); many times as fast as `numpy.nanmedian`."""
    known = np.isfinite(values).sum(1, keepdims=True)
    ordered = np.sort(values, axis=1)  # NaN comes last
    rows = np.arange(len(values))[:, None]
    low, high = ordered[rows, np.maximum(known - 1, 0) // 2], ordered[rows, known // 2 % values.shape[1]]
    return (low + high) / 2
