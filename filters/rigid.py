"""Similarity motion in the plane: splits moving points into shift, rotation and scale of the whole, and the rest.

Points are complex numbers here, so a similarity is `shift + turn * point` with two complex numbers, and isotropic noise of
the points gives isotropic noise of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.filters.kalman import all_true
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
    return _fit(_Pattern.of(shape, weights), points)


@dataclass(frozen=True, eq=False, slots=True)
class _Pattern:
    """What a fit needs of a shape and its weights, whatever the points."""

    shares: FloatArray
    """(tracks, points) weights that add up to 1."""
    centre: ComplexArray
    """(tracks,)."""
    arms: ComplexArray
    """(tracks, points) conjugate distances from the centre, weighted."""
    power: FloatArray
    """(tracks,) weighted mean square of the distances."""

    @classmethod
    def of(cls, shape: ComplexArray, weights: FloatArray) -> _Pattern:
        """Return that of a shape (tracks, points) and its weights (tracks, points)."""
        shares = weights / weights.sum(-1, keepdims=True)
        centre = _sum(shape, shares)
        arms = shape - centre[..., None]
        weighted = arms.conj() * shares
        return cls(shares, centre, weighted, _sum(arms, weighted).real)


def _fit(pattern: _Pattern, points: ComplexArray) -> tuple[ComplexArray, ComplexArray]:
    """The similarity that brings a pattern nearest to points, see `fit`."""
    centre = _sum(points, pattern.shares)
    turn = _sum(points - centre[..., None], pattern.arms) / pattern.power
    return centre - turn * pattern.centre, turn


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
        self._pattern: _Pattern | None = None
        """That of the shapes, all points of equal weight; None after they have changed."""

    def grow(self, tracks: int) -> None:
        """Make room for `tracks` tracks in all."""
        extra = np.zeros((tracks - len(self._shapes), len(self.anchors)), np.complex128)
        self._shapes, self._pattern = np.concatenate([self._shapes, extra]), None

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
        anchors, spread, predicted = points[:, self.anchors], sigma[:, self.anchors], expected[:, self.anchors]
        measured, known = np.isfinite(anchors), np.isfinite(predicted)
        if all_true(measured) and all_true(known) and len(self.anchors) > 1:
            self._pattern = self._pattern or _even(self._shapes)
            return self._fitted(points, anchors, spread, predicted, self._pattern)
        parts = np.full(points.shape, complex(np.nan, np.nan))
        shift = np.full(len(points), complex(np.nan, np.nan))
        turn = shift.copy()
        rows = np.flatnonzero(np.where(known.any(1), measured.sum(1) >= 2, measured.all(1)))
        if not len(rows):
            return parts, shift, turn
        if len(rows) < len(points):
            measured, known, points = measured[rows], known[rows], points[rows]
            anchors, spread, predicted = anchors[rows], spread[rows], predicted[rows]
        anchors, spread = np.where(measured, anchors, 0.0), np.where(measured, spread, 1.0)
        new = np.asarray(~known.any(1))
        whole = np.where(known, predicted, 0.0)
        if new.any():
            whole = np.where(new[:, None], normalised(anchors, measured / spread**2), whole)
            self._shapes[rows[new]], self._pattern = whole[new], None
        pattern = _even(self._shapes[rows])
        parts[rows], shift[rows], turn[rows] = self._fitted(points, anchors, spread, whole, pattern, measured)
        return parts, shift, turn

    def _fitted(
        self,
        points: ComplexArray,
        anchors: ComplexArray,
        spread: FloatArray,
        whole: ComplexArray,
        pattern: _Pattern,
        measured: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
        """Parts, shift and turn of tracks.

        Args:
            points: (tracks, points).
            anchors: (tracks, anchors) those of the points.
            spread: (tracks, anchors) their standard deviations.
            whole: (tracks, anchors) the shape that is expected of them.
            pattern: That of the tracks' own shapes.
            measured: (tracks, anchors); None where all are.
        """
        squared, doubted = spread**2, self.DOUBT * spread
        weights = 1 / squared if measured is None else measured / squared
        # Weights that change from frame to frame would cause jitter of the whole once the shape differs from the first one.
        # So doubtful anchors are moved to where the others predict them, and then all have the same weight.
        for _ in range(2):
            moved, turned = fit(whole, anchors, weights)
            fitted = moved[:, None] + turned[:, None] * whole
            trust = 1 / (1 + np.square(np.abs(anchors - fitted) / doubted))
            trust = trust if measured is None else measured * trust
            weights = trust / squared
        blend = trust * np.minimum(1.0, np.square(_typical(spread, measured) / spread))
        agreed = blend * anchors + (1 - blend) * fitted
        shift, turn = _fit(pattern, agreed)
        return (points - shift[:, None]) / turn[:, None], shift, turn


def _even(shapes: ComplexArray) -> _Pattern:
    """The pattern of shapes whose points have equal weights."""
    return _Pattern.of(shapes, np.ones(shapes.shape))


def _typical(values: FloatArray, measured: npt.NDArray[np.bool_] | None) -> FloatArray:
    """(tracks, points) to the median of what is measured, (tracks, 1); of all if None."""
    return known_median(values if measured is None else np.where(measured, values, np.nan))


def known_median(values: FloatArray) -> FloatArray:
    """(tracks, points) to the median of what is not NaN, (tracks, 1); many times as fast as `numpy.nanmedian`."""
    finite, ordered = np.isfinite(values), np.sort(values, axis=1)  # NaN comes last
    count = values.shape[1]
    if count and all_true(finite):
        low, high = (count - 1) // 2, count // 2
        return (ordered[:, low : low + 1] + ordered[:, high : high + 1]) / 2
    known = finite.sum(1, keepdims=True)
    rows = np.arange(len(values))[:, None]
    lower, higher = ordered[rows, np.maximum(known - 1, 0) // 2], ordered[rows, known // 2 % count]
    return (lower + higher) / 2
