"""Smooth curves through the points of a query's parts, ready to be evaluated for any face by one gather and one sum.

The curves are Catmull-Rom splines: they pass through every point. Which points they join follows from the positions: a
closed part is closed where the query goes all the way round it, and a stretch nobody asked for is not bridged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.parts import PARTS
from vtrack.types import FloatArray, Query

CORNERED = ("left_eye", "right_eye", "outer_lip", "inner_lip")
"""Closed parts with corners at 0 and 1/2; a smooth curve would bulge around them."""
WIDEST_GAP, WIDEST_RELATIVE = 0.36, 2.3
"""A gap is not bridged if it is longer than this share of a part, and than this many times the part's usual gap."""
SAMPLES = 40
"""Samples along a curve, about; never fewer than two for each gap between points."""


@dataclass(frozen=True, eq=False, slots=True)
class Curves:
    """All lines of a query; their samples stand one after the other in one array."""

    starts: npt.NDArray[np.intp]
    """(curves + 1,) where each curve's samples begin, and where the last one's end."""
    around: npt.NDArray[np.intp]
    """(samples, 4) the points that each sample depends on: before, start, end, after."""
    weights: FloatArray
    """(samples, 4) how much it depends on each."""
    linear: FloatArray
    """(samples,) how far it is from start to end."""

    def lines(self, points: FloatArray) -> FloatArray:
        """(samples, 2) of a face's points (points, 2)."""
        return np.einsum("sk,skc->sc", self.weights, points[self.around])

    def along(self, values: FloatArray) -> FloatArray:
        """(samples,) of values (points,), linear between points."""
        start, end = values[self.around[:, 1]], values[self.around[:, 2]]
        return start + (end - start) * self.linear


def curves_of(query: Query) -> Curves:
    """The curves of a query's parts, in the query's order."""
    splines: list[tuple[npt.NDArray[np.intp], FloatArray, FloatArray]] = []
    for name in dict.fromkeys(query.parts):
        places = np.array(query.indices(name))
        positions = np.array(query.positions)[places]
        closed = name in PARTS and PARTS[name].closed
        for run in _runs(positions, closed):
            cornered = np.isin(positions[run], (0.0, 0.5, 1.0)) & (name in CORNERED)
            splines.append(_spline(places[run], cornered))
    starts = np.cumsum([0, *(len(linear) for _, _, linear in splines)])
    if not splines:
        return Curves(starts, np.zeros((0, 4), np.intp), np.zeros((0, 4)), np.zeros(0))
    around, weights, linear = (np.concatenate(arrays) for arrays in zip(*splines, strict=True))
    return Curves(starts, around, weights, linear)


def _runs(positions: FloatArray, closed: bool) -> list[npt.NDArray[np.intp]]:
    """Which points are joined, in order; a run that ends with its first point is closed."""
    _, order = np.unique(positions % 1.0 if closed else positions, return_index=True)
    if len(order) < 2:
        return []
    along = positions[order] % 1.0 if closed else positions[order]
    gaps = np.diff(along, append=along[0] + 1.0)  # the last leads round to the first
    inner = gaps if closed else gaps[:-1]
    bridged = inner <= max(WIDEST_RELATIVE * float(np.median(inner)), 1e-9)
    if closed or len(order) > 2:
        bridged &= inner <= (WIDEST_GAP if closed else 2 * WIDEST_GAP)
    if closed and bridged.all() and len(order) > 2:
        return [np.append(order, order[0])]
    if closed:
        # Begin after a gap, so that no run goes across the end of the list.
        first = int(np.flatnonzero(~bridged)[-1]) + 1 if not bridged.all() else 0
        order, bridged = np.roll(order, -first), np.roll(bridged, -first)[:-1]
    return [run for run in np.split(order, np.flatnonzero(~bridged) + 1) if len(run) > 1]


def _spline(
    nodes: npt.NDArray[np.intp], cornered: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], FloatArray, FloatArray]:
    """`around`, `weights`, `linear` of the spline through these points; its corners and open ends are loose."""
    gaps = len(nodes) - 1
    closed = nodes[0] == nodes[-1]
    before = np.append(nodes[-2] if closed else nodes[0], nodes[:-2])
    after = np.append(nodes[2:], nodes[1] if closed else nodes[-1])
    around = np.stack([before, nodes[:-1], nodes[1:], after], 1)  # (gaps, 4)
    loose = cornered.copy()
    if not closed:
        loose[[0, -1]] = True
    steps = max(round(SAMPLES / gaps), 2)
    t = np.arange(steps) / steps
    t2, t3 = t * t, t * t * t
    # (steps, 4) the Catmull-Rom basis.
    basis = 0.5 * np.stack([-t + 2 * t2 - t3, 2 - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, -t2 + t3], 1)
    weights = np.repeat(basis[None], gaps, 0)  # (gaps, steps, 4)
    # At a loose end the missing neighbour is the other end's mirror image: 2 * start - end.
    for end, (missing, near, far) in ((loose[:-1], (0, 1, 2)), (loose[1:], (3, 2, 1))):
        weights[end, :, near] += 2 * weights[end, :, missing]
        weights[end, :, far] -= weights[end, :, missing]
        weights[end, :, missing] = 0.0
    samples = np.repeat(around, steps, 0)
    last = np.array([[0.0, 0.0, 1.0, 0.0]])
    weights = np.concatenate([weights.reshape(-1, 4), last])
    return np.concatenate([samples, samples[-1:]]), weights, np.append(np.tile(t, gaps), 1.0)
