"""Catmull-Rom splines through the points of a query's parts, evaluated for a face by one gather and one sum.

The splines pass through every point. The positions decide which points they join: a closed part is drawn closed if the
query covers all of it, and a gap much wider than the others is not bridged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.parts import PARTS
from vtrack.types import FloatArray, Query

CORNERED = ("left_eye", "right_eye", "outer_lip", "inner_lip")
"""Closed parts with corners at positions 0 and 1/2, around which a smooth curve would bulge."""
MAX_GAP, MAX_RELATIVE_GAP = 0.36, 2.3
"""Largest gap that is bridged: in positions along the part, and relative to the median gap of the part."""
SAMPLES = 40
"""Approximate number of samples along a curve; at least two for each gap between points."""


@dataclass(frozen=True, eq=False, slots=True)
class Splines:
    """The splines of all parts of a query; their samples stand one after the other in one array."""

    starts: npt.NDArray[np.intp]
    """(splines + 1,) index of each spline's first sample, and the number of samples."""
    neighbours: npt.NDArray[np.intp]
    """(samples, 4) indices of the points that each sample depends on: before, start, end, after."""
    weights: FloatArray
    """(samples, 4) weights of these points."""
    fractions: FloatArray
    """(samples,) position of the sample between start (0) and end (1)."""

    def evaluate(self, points: FloatArray) -> FloatArray:
        """Return the samples (samples, 2) of the splines through a face's points (points, 2)."""
        return np.einsum("sk,skc->sc", self.weights, points[self.neighbours])

    def interpolate(self, values: FloatArray) -> FloatArray:
        """Return values (points,) interpolated linearly at the samples (samples,)."""
        start, end = values[self.neighbours[:, 1]], values[self.neighbours[:, 2]]
        return start + (end - start) * self.fractions


def part_splines(query: Query) -> Splines:
    """Return the splines through the points of a query's parts, in the query's order."""
    splines: list[tuple[npt.NDArray[np.intp], FloatArray, FloatArray]] = []
    for name in dict.fromkeys(query.parts):
        places = np.flatnonzero([part == name for part in query.parts])  # tables of others call points like groups
        positions = np.array(query.positions)[places]
        closed = name in PARTS and PARTS[name].closed
        for run in _runs(positions, closed):
            cornered = np.isin(positions[run], (0.0, 0.5, 1.0)) & (name in CORNERED)
            splines.append(_spline(places[run], cornered))
    starts = np.cumsum([0, *(len(fractions) for _, _, fractions in splines)])
    if not splines:
        return Splines(starts, np.zeros((0, 4), np.intp), np.zeros((0, 4)), np.zeros(0))
    neighbours, weights, fractions = (np.concatenate(arrays) for arrays in zip(*splines, strict=True))
    return Splines(starts, neighbours, weights, fractions)


def _runs(positions: FloatArray, closed: bool) -> list[npt.NDArray[np.intp]]:
    """Return the indices of the points that each spline joins, in order; a closed spline ends with its first point."""
    _, order = np.unique(positions % 1.0 if closed else positions, return_index=True)
    if len(order) < 2:
        return []
    along = positions[order] % 1.0 if closed else positions[order]
    gaps = np.diff(along, append=along[0] + 1.0)  # the last gap leads to the first point
    inner = gaps if closed else gaps[:-1]
    bridged = inner <= max(MAX_RELATIVE_GAP * float(np.median(inner)), 1e-9)
    if closed or len(order) > 2:
        bridged &= inner <= (MAX_GAP if closed else 2 * MAX_GAP)
    if closed and bridged.all() and len(order) > 2:
        return [np.append(order, order[0])]
    if closed:
        # Begin after a gap, so that no spline crosses the end of the list.
        first = int(np.flatnonzero(~bridged)[-1]) + 1 if not bridged.all() else 0
        order, bridged = np.roll(order, -first), np.roll(bridged, -first)[:-1]
    return [run for run in np.split(order, np.flatnonzero(~bridged) + 1) if len(run) > 1]


def _spline(
    nodes: npt.NDArray[np.intp], cornered: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.intp], FloatArray, FloatArray]:
    """Return `neighbours`, `weights` and `fractions` of the spline through these points; corners and open ends are free."""
    gaps = len(nodes) - 1
    closed = nodes[0] == nodes[-1]
    before = np.append(nodes[-2] if closed else nodes[0], nodes[:-2])
    after = np.append(nodes[2:], nodes[1] if closed else nodes[-1])
    neighbours = np.stack([before, nodes[:-1], nodes[1:], after], 1)  # (gaps, 4)
    free_ends = cornered.copy()
    if not closed:
        free_ends[[0, -1]] = True
    steps = max(round(SAMPLES / gaps), 2)
    t = np.arange(steps) / steps
    t2, t3 = t * t, t * t * t
    # (steps, 4) the Catmull-Rom basis.
    basis = 0.5 * np.stack([-t + 2 * t2 - t3, 2 - 5 * t2 + 3 * t3, t + 4 * t2 - 3 * t3, -t2 + t3], 1)
    weights = np.repeat(basis[None], gaps, 0)  # (gaps, steps, 4)
    # At a free end the missing neighbour is the other end's mirror image: 2 * start - end.
    for end, (missing, near, far) in ((free_ends[:-1], (0, 1, 2)), (free_ends[1:], (3, 2, 1))):
        weights[end, :, near] += 2 * weights[end, :, missing]
        weights[end, :, far] -= weights[end, :, missing]
        weights[end, :, missing] = 0.0
    samples = np.repeat(neighbours, steps, 0)
    last = np.array([[0.0, 0.0, 1.0, 0.0]])
    weights = np.concatenate([weights.reshape(-1, 4), last])
    return np.concatenate([samples, samples[-1:]]), weights, np.append(np.tile(t, gaps), 1.0)
