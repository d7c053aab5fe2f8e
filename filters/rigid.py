"""Rigid motion in the plane: shift, turn and size of a shape, apart from what moves on it.

A point of the plane is a complex number here, so a similarity is `shift + turn * point` with two complex numbers, and
isotropic noise of the points makes isotropic noise of both.
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
    """Shift (tracks,) and turn (tracks,) that bring `shape` (tracks, points) nearest to `points`, least weighted squares.

    Points of weight 0 do not count and may be anything finite. The abs of the turn is the size, its angle the roll.
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
    """Splits the points of each track into the motion of the whole and what moves on it.

    The whole is a similarity that brings the track's first shape of its `anchors` onto them. Its `shift` and `turn` are
    in pixels, and what is left, `parts`, is in units of the anchors' root mean square radius.
    """

    DOUBT = 3.0
    """Standard deviations from where the other anchors say it should be, at which an anchor loses half its weight."""

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
        """Parts (tracks, points), shift (tracks,) and turn (tracks,) of points (tracks, points), NaN where unmeasured.

        `expected` is where the parts are expected, NaN where nothing is: a track starts where no anchor is expected, and
        takes its present shape as its own if all anchors
        are measured. An anchor that the others contradict, or of large sigma, has little say.
        """
        parts = np.full(points.shape, complex(np.nan, np.nan))
        shift = np.full(len(points), complex(np.nan, np.nan))
        turn = shift.copy()
        seen = np.asarray(np.isfinite(points[:, self.anchors]))
        hoped = expected[:, self.anchors]
        rows = np.flatnonzero(np.where(np.isfinite(hoped).any(1), seen.sum(1) >= 2, seen.all(1)))
        if not len(rows):
            return parts, shift, turn
        seen, anchors = seen[rows], np.where(seen[rows], points[np.ix_(rows, self.anchors)], 0.0)
        spread = np.where(seen, sigma[np.ix_(rows, self.anchors)], 1.0)
        hoped = hoped[rows]
        new = np.asarray(~np.isfinite(hoped).any(1))
        weights = seen / spread**2
        whole = np.where(new[:, None], normalised(anchors, weights), np.where(np.isfinite(hoped), hoped, 0.0))
        self._shapes[rows[new]] = whole[new]
        # Weights that change from frame to frame would make the whole tremble wherever the shape is no longer the first
        # one. So doubted anchors are put where the trusted ones say, and then all count alike.
        for _ in range(2):
            moved, turned = fit(whole, anchors, weights)
            told = moved[:, None] + turned[:, None] * whole
            trust = 1 / (1 + np.square(np.abs(anchors - told) / (self.DOUBT * spread)))
            weights = seen * trust / spread**2
        blend = seen * trust * np.minimum(1.0, np.square(_typical(spread, seen) / spread))
        agreed = blend * anchors + (1 - blend) * told
        shift[rows], turn[rows] = fit(self._shapes[rows], agreed, np.ones(agreed.shape))
        parts[rows] = (points[rows] - shift[rows, None]) / turn[rows, None]
        return parts, shift, turn


def _typical(values: FloatArray, seen: npt.NDArray[np.bool_]) -> FloatArray:
    """(tracks, points) to the median of what is seen, (tracks, 1)."""
    return known_median(np.where(seen, values, np.nan))


def known_median(values: FloatArray) -> FloatArray:
    """(tracks, points) to the median of what is not NaN, (tracks, 1); many times as fast as `numpy.nanmedian`."""
    known = np.isfinite(values).sum(1, keepdims=True)
    ordered = np.sort(values, axis=1)  # NaN comes last
    rows = np.arange(len(values))[:, None]
    low, high = ordered[rows, np.maximum(known - 1, 0) // 2], ordered[rows, known // 2 % values.shape[1]]
    return (low + high) / 2
