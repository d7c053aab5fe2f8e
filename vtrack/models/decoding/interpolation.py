"""Points between those that a network was taught: it is asked for the taught ones, and a curve gives the others.

A network that treats each point by itself knows a part best at the positions that its data mark. Between them its answers
stray, and a thousand cost far more than a hundred, since each attends to all others. So a part that is asked for at other
positions is read off a smooth curve through those that data sets mark. A curve is a sum of its knots by weights that
depend on the query alone: a table made once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vtrack.layouts import Layout
from vtrack.models.card import Card
from vtrack.parts import ENDS, PARTS, Part
from vtrack.types import FloatArray, Prediction, Query

NEAR = 0.01
"""How far along its part a position may lie from one that was taught, to be asked for as it is."""

APART = 0.1
"""How far along its part a position must lie from those of data sets before. No two mark a part quite alike, and a curve that
runs from one's point to another's close by has waves.
"""


@dataclass(frozen=True, eq=False, slots=True)
class Taught:
    """Positions along parts that a network knows. Each is its own, for a query is looked up by it."""

    marked: Mapping[str, tuple[float, ...]]
    """All that its data mark, in order."""
    knots: Mapping[str, tuple[float, ...]]
    """Those that curves run through."""

    @classmethod
    def of(cls, card: Card) -> Taught:
        """What a card tells: nothing for a model of one layout, which reads any point off a curve already."""
        places = {part: (told["knots"], told["others"]) for part, told in card.taught.items() if part in PARTS}
        return cls(
            {part: tuple(sorted([*knots, *others])) for part, (knots, others) in places.items()},
            {part: tuple(knots) for part, (knots, _) in places.items()},
        )


def marks(layouts: Iterable[tuple[Layout, bool]]) -> dict[str, dict[str, list[float]]]:
    """What a card tells of the layouts that a network learns, best first, and whether every second point is held out of each.

    Knots are those of the first layout, and others' where it leaves gaps.
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
class Reading:
    """What to ask a network for a query, and how to read the query's points off its answer."""

    asked: Query
    points: FloatArray | None = None
    """(points, asked) weights; None where the answer is the query's own."""
    sigma: FloatArray | None = None
    """(points, asked) weights, none of them negative."""

    def read(self, answer: Prediction) -> Prediction:
        """The query's points."""
        if self.points is None or self.sigma is None:
            return answer
        return Prediction(self.points @ answer.points, answer.sigma @ self.sigma.T, answer.presence)


@lru_cache(maxsize=32)
def reading(query: Query, taught: Taught) -> Reading:
    """How a model that was taught these positions answers a query."""
    parts = np.array(query.parts)
    curves = {}
    for part in dict.fromkeys(query.parts):
        places = np.flatnonzero(parts == part)
        if part in taught.marked and _strays(PARTS[part], np.array(query.positions)[places], taught.marked[part]):
            curves[part] = places, _knots(part, taught)
    if not curves:
        return Reading(query)
    plain = [i for i, part in enumerate(query.parts) if part not in curves]
    asked = [(query.parts[i], query.positions[i]) for i in plain]
    asked += [point for _, knots in curves.values() for _, point in knots]
    points, sigma = np.zeros((2, len(query), len(asked)), np.float32)
    points[plain, range(len(plain))] = sigma[plain, range(len(plain))] = 1
    column = len(plain)
    for part, (places, knots) in curves.items():
        at, columns = np.array(query.positions)[places], slice(column, column + len(knots))
        positions = np.array([position for position, _ in knots])
        points[places, columns] = _smooth(PARTS[part], positions, at)
        sigma[places, columns] = _straight(PARTS[part], positions, at)
        column += len(knots)
    needed = np.flatnonzero(points.any(0))
    chosen = Query(tuple(asked[i][0] for i in needed), tuple(asked[i][1] for i in needed))
    return Reading(chosen, points[:, needed], sigma[:, needed])


def _knots(part: str, taught: Taught) -> list[tuple[float, tuple[str, float]]]:
    """Positions of a part's knots in order, and the point that each is: its own, or an end that another part has."""
    own = {knot: (part, knot) for knot in taught.knots[part]}
    ends = {at: point for at, point in ENDS.get(part, {}).items() if point[0] in taught.marked}
    return sorted({**ends, **own}.items())


def _strays(part: Part, positions: FloatArray, marked: tuple[float, ...]) -> bool:
    """Whether some of these positions lie between those that were taught."""
    return bool((_gaps(part, positions, marked).min(1) > NEAR).any())


def _gaps(part: Part, some: FloatArray, others: Sequence[float]) -> FloatArray:
    """(some, others) how far they lie apart; round a closed part the shorter way."""
    gaps = np.abs(some[:, None] - np.array(others))
    return np.minimum(gaps % 1.0, -gaps % 1.0) if part.closed else gaps


def _smooth(part: Part, knots: FloatArray, at: FloatArray) -> FloatArray:
    """(n, knots) weights of a cubic curve; beyond the outermost knots of an open part it goes straight on.

    It bends by its neighbours alone, so that a single point takes four questions and not the whole part.
    """
    from scipy.interpolate import CubicHermiteSpline

    unit = np.eye(len(knots))
    if len(knots) == 1:
        return np.repeat(unit, len(at), 0)
    if part.closed:  # so that there is a neighbour at both ends
        knots, unit, at = np.concatenate([knots - 1, knots, knots + 1]), np.tile(unit, (3, 1)), at % 1.0
    curve, inside = CubicHermiteSpline(knots, unit, np.gradient(unit, knots, axis=0)), at.clip(knots[0], knots[-1])
    return np.asarray(curve(inside) + (at - inside)[:, None] * curve(inside, 1))


def _straight(part: Part, knots: FloatArray, at: FloatArray) -> FloatArray:
    """(n, knots) weights of the straight lines between knots; beyond the outermost they stay as they are."""
    period = 1.0 if part.closed else None
    return np.stack([np.interp(at, knots, row, period=period) for row in np.eye(len(knots))], 1)
