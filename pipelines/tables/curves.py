"""Points of one query out of those of another: the same points, and others of the same parts by the curves through them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from vtrack.layouts.layout import points_of
from vtrack.models.decoding.interpolation import NEAR, TaughtPositions, plan_query
from vtrack.parts import PARTS
from vtrack.types import FloatArray, Query

_SAME = 1e-9
"""Distance along the part up to which two positions are the same."""
_KNOTS = 3
"""Least number of points that a curve runs through."""


class MissingPointsError(ValueError):
    """Points are wanted of parts on which too few are known; `parts` names them."""

    def __init__(self, parts: tuple[str, ...]) -> None:
        super().__init__(f"too few points are known of {', '.join(parts)}")
        self.parts = parts


@dataclass(frozen=True, eq=False, slots=True)
class PointWeights:
    """Weights that make the points of a query of known ones."""

    points: FloatArray
    """(points, known) weights of coordinates."""
    sigma: FloatArray
    """(points, known) weights of standard deviations, none negative."""

    @classmethod
    def of(cls, wanted: Query, known: Query, knots: Query) -> PointWeights:
        """The weights for a query.

        Args:
            wanted: The points to make.
            known: The points that there are.
            knots: Those of them that curves may run through.

        Raises:
            MissingPointsError: A part has fewer than three knots, and not all points that are wanted of it are known.

        Example:
            PointWeights.of(parse_query("left_eye:40"), known, known).points @ points
        """
        there, points, sigma = points_of(known), *np.zeros((2, len(wanted), len(known)))
        places = np.array([_place(point, there, _SAME) for point in points_of(wanted)], np.intp)
        same, other = np.flatnonzero(places >= 0), np.flatnonzero(places < 0)
        points[same, places[same]] = sigma[same, places[same]] = 1
        if len(other):
            plan = plan_query(
                Query(*zip(*(points_of(wanted)[row] for row in other), strict=True)), _positions(points_of(knots))
            )
            needed = [_place(point, there, NEAR) for point in points_of(plan.network_query)]
            missing = [part for part, place in zip(plan.network_query.parts, needed, strict=True) if place < 0]
            if missing:
                raise MissingPointsError(tuple(dict.fromkeys(missing)))
            chosen = np.eye(len(known))[needed]
            points[other] = chosen if plan.points is None else plan.points @ chosen
            sigma[other] = chosen if plan.sigma is None else plan.sigma @ chosen
        return cls(points, sigma)


def _positions(knots: Collection[tuple[str, float]]) -> TaughtPositions:
    """The positions of each part that has enough for a curve."""
    at: dict[str, set[float]] = {}
    for part, position in knots:
        if part in PARTS:
            at.setdefault(part, set()).add(position % 1.0 if PARTS[part].closed else position)
    enough = {part: tuple(sorted(positions)) for part, positions in at.items() if len(positions) >= _KNOTS}
    return TaughtPositions(enough, enough)


def _place(point: tuple[str, float], there: Collection[tuple[str, float]], distance: float) -> int:
    """The place of the nearest of some points that lies on the same part within a distance; -1 if there is none."""
    part, position = point
    gaps = [(abs(at - position), i) for i, (name, at) in enumerate(there) if name == part]
    if part in PARTS and PARTS[part].closed:
        gaps = [(min(gap, 1 - gap), i) for gap, i in gaps]
    gap, place = min(gaps, default=(np.inf, -1))
    return place if gap <= distance else -1
