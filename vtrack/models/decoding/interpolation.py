"""Points between those that a network was trained on: the network predicts the trained ones, a curve gives the others.

A query network is most accurate at the positions that its data sets mark. Between them it is less accurate, and a thousand
points cost far more than a hundred, since each attends to all others. So other positions of a part are interpolated by a
smooth curve through those that data sets mark. Its weights depend on the query alone and are computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vtrack.layouts import Layout, points_of
from vtrack.models.card import Card
from vtrack.parts import ENDS, MIDDLES, PARTS, Part
from vtrack.types import FloatArray, Prediction, Query

NEAR = 0.01
"""Distance along the part up to which a position counts as trained and is queried directly."""

APART = 0.1
"""Distance along the part that a knot must keep from those of the data sets before. No two data sets mark a part in quite the
same way, and a curve through close points of both would have waves.
"""


@dataclass(frozen=True, eq=False, slots=True)
class TaughtPositions:
    """Positions along parts that a network was trained on. Compared by identity, as a key of caches."""

    marked: Mapping[str, tuple[float, ...]]
    """All positions of each part that its data sets mark, ascending."""
    knots: Mapping[str, tuple[float, ...]]
    """The positions of each part that curves run through."""

    @classmethod
    def of(cls, card: Card) -> TaughtPositions:
        """The positions on a card; none for a model of one layout, which interpolates by itself."""
        places = {part: (entry["knots"], entry["others"]) for part, entry in card.taught.items() if part in PARTS}
        return cls(
            {part: tuple(sorted([*knots, *others])) for part, (knots, others) in places.items()},
            {part: tuple(knots) for part, (knots, _) in places.items()},
        )

    def gap(self, part: str, position: float) -> float:
        """Distance along a part from the nearest position that a data set marks; infinite for a part that none marks."""
        if part not in self.marked:
            return float("inf")
        return float(_gaps(PARTS[part], np.array([position]), self.marked[part]).min())


def taught_positions(layouts: Iterable[tuple[Layout, bool]]) -> dict[str, dict[str, list[float]]]:
    """The card's `taught` entry: knots and other trained positions of each part.

    Args:
        layouts: Layouts that a network learns, most exact first, and whether every second point of each is held out.

    Returns:
        For each part `knots`, those of the first layout and of others in its gaps, and `others`.
    """
    knots: dict[str, list[float]] = {}
    others: dict[str, set[float]] = {}
    for layout, held_out in layouts:
        learned = ~layout.every_second if held_out else np.ones(len(layout), bool)
        marked: dict[str, set[float]] = {}
        for part, position, known in zip(layout.query.parts, layout.query.positions, learned, strict=True):
            if known and part in PARTS:
                marked.setdefault(part, set()).add(round(position % 1.0 if PARTS[part].closed else position, 6))
        for part, own in marked.items():
            before, places = knots.get(part, []), np.array(sorted(own))
            new = places[(_gaps(PARTS[part], places, before) > APART).all(1)]
            knots[part] = sorted([*before, *new.tolist()])
            others[part] = others.get(part, set()) | own
    return {part: {"knots": at, "others": sorted(others[part] - set(at))} for part, at in knots.items()}


@dataclass(frozen=True, eq=False, slots=True)
class QueryPlan:
    """The query that a network gets in place of another, and the weights that interpolate its prediction."""

    network_query: Query
    """The points that the network predicts."""
    points: FloatArray | None = None
    """(points, predicted) weights of coordinates; None if the network predicts the query itself."""
    sigma: FloatArray | None = None
    """(points, predicted) weights of standard deviations and of probabilities, none negative."""

    def interpolate(self, prediction: Prediction) -> Prediction:
        """Turn the network's prediction into that of the original query."""
        if self.points is None or self.sigma is None:
            return prediction
        hidden = None if prediction.hidden is None else prediction.hidden @ self.sigma.T
        return Prediction(self.points @ prediction.points, prediction.sigma @ self.sigma.T, prediction.presence, hidden)


@lru_cache(maxsize=32)
def plan_query(query: Query, taught: TaughtPositions) -> QueryPlan:
    """How a model that was trained on these positions computes a query.

    Args:
        query: The requested points.
        taught: Positions that the model was trained on.
    """
    sources = [_sources(part, position, taught) for part, position in points_of(query)]
    if all(len(points) == 1 for points in sources):
        return _curves(query, taught)
    # Middles that nothing marks are the means of the points that they lie between.
    points = [point for some in sources for point in some]
    whole = _curves(Query(tuple(part for part, _ in points), tuple(at for _, at in points)), taught)
    means = np.zeros((len(query), len(points)), np.float32)
    column = 0
    for row, some in enumerate(sources):
        means[row, column : column + len(some)] = 1 / len(some)
        column += len(some)
    if whole.points is None or whole.sigma is None:
        return QueryPlan(whole.network_query, means, means)
    return QueryPlan(whole.network_query, means @ whole.points, means @ whole.sigma)


def _sources(part: str, position: float, taught: TaughtPositions) -> tuple[tuple[str, float], ...]:
    """The points whose mean is a point: the point itself, unless it is an unmarked middle of marked points."""
    middle = MIDDLES.get(part, ())
    known = part not in taught.marked and middle and all(source in taught.marked for source, _ in middle)
    return middle if known else ((part, position),)


def _curves(query: Query, taught: TaughtPositions) -> QueryPlan:
    """The plan of a query without unmarked middles: positions between trained ones by curves, all others directly."""
    parts = np.array(query.parts)
    curves = {}
    for part in dict.fromkeys(query.parts):
        places = np.flatnonzero(parts == part)
        if part in taught.marked and _strays(PARTS[part], np.array(query.positions)[places], taught.marked[part]):
            curves[part] = places, _knots(part, taught)
    if not curves:
        return QueryPlan(query)
    plain = [i for i, part in enumerate(query.parts) if part not in curves]
    predicted = [(query.parts[i], query.positions[i]) for i in plain]
    predicted += [point for _, knots in curves.values() for _, point in knots]
    points, sigma = np.zeros((2, len(query), len(predicted)), np.float32)
    points[plain, range(len(plain))] = sigma[plain, range(len(plain))] = 1
    column = len(plain)
    for part, (places, knots) in curves.items():
        at, columns = np.array(query.positions)[places], slice(column, column + len(knots))
        positions = np.array([position for position, _ in knots])
        points[places, columns] = smooth_weights(PARTS[part], positions, at)
        sigma[places, columns] = _straight(PARTS[part], positions, at)
        column += len(knots)
    needed = np.flatnonzero(points.any(0))
    chosen = Query(tuple(predicted[i][0] for i in needed), tuple(predicted[i][1] for i in needed))
    return QueryPlan(chosen, points[:, needed], sigma[:, needed])


def _knots(part: str, taught: TaughtPositions) -> list[tuple[float, tuple[str, float]]]:
    """Positions of a part's knots in order, and the point that each is: its own, or an end that another part has."""
    own = {knot: (part, knot) for knot in taught.knots[part]}
    ends = {at: point for at, point in ENDS.get(part, {}).items() if point[0] in taught.marked}
    return sorted({**ends, **own}.items())


def _strays(part: Part, positions: FloatArray, marked: tuple[float, ...]) -> bool:
    """Whether some of these positions lie between trained ones."""
    return bool((_gaps(part, positions, marked).min(1) > NEAR).any())


def _gaps(part: Part, some: FloatArray, others: Sequence[float]) -> FloatArray:
    """(some, others) distances along the part; on a closed part the shorter way round."""
    gaps = np.abs(some[:, None] - np.array(others))
    return np.minimum(gaps % 1.0, -gaps % 1.0) if part.closed else gaps


def smooth_weights(part: Part, knots: FloatArray, at: FloatArray) -> FloatArray:
    """(n, knots) weights of a cubic Hermite curve, linear beyond the outermost knots of an open part.

    A point depends on its four nearest knots alone, so that a single one does not need the whole part.
    """
    unit = np.eye(len(knots))
    if len(knots) == 1:
        return np.repeat(unit, len(at), 0)
    if part.closed:  # so that there is a neighbour at both ends
        knots, unit, at = np.concatenate([knots - 1, knots, knots + 1]), np.tile(unit, (3, 1)), at % 1.0
    slopes = np.asarray(np.gradient(unit, knots, axis=0))
    inside = at.clip(knots[0], knots[-1])
    outward = np.where((at < inside)[:, None], slopes[0], slopes[-1])
    return _hermite(knots, unit, slopes, inside) + (at - inside)[:, None] * outward


def _hermite(knots: FloatArray, values: FloatArray, slopes: FloatArray, at: FloatArray) -> FloatArray:
    """(n, columns) cubic curve with (knots, columns) values and slopes, at positions from the first knot to the last."""
    left = np.searchsorted(knots[1:-1], at, side="right")
    width = (knots[left + 1] - knots[left])[:, None]
    share = (at - knots[left])[:, None] / width
    rest = 1 - share
    ends = rest**2 * (1 + 2 * share) * values[left] + share**2 * (1 + 2 * rest) * values[left + 1]
    return ends + share * rest * width * (rest * slopes[left] - share * slopes[left + 1])


def _straight(part: Part, knots: FloatArray, at: FloatArray) -> FloatArray:
    """(n, knots) weights of linear interpolation, constant beyond the outermost knots."""
    period = 1.0 if part.closed else None
    return np.stack([np.interp(at, knots, row, period=period) for row in np.eye(len(knots))], 1)
