"""Which points of two tables can be compared: those at the same place of the same part, and those on its curve."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vtrack.errors import UsageError, spelled
from vtrack.layouts.layout import points_of
from vtrack.models.decoding.interpolation import smooth_weights
from vtrack.parts import PARTS
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.types import FloatArray, Query

_SAME = 2e-4
"""Positions in tables have four decimals."""
_WIDEST = {True: 0.26, False: 0.51}
"""Largest gap between two points, along the part, in which a curve is believed: on closed parts and on open ones."""
_NEIGHBOURS = 4
"""Points that a place of a curve depends on."""


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Where points lie among those of a table: each is a weighted sum of some of them."""

    indices: npt.NDArray[np.intp]
    """(points, 4) of the table's points."""
    weights: FloatArray
    """(points, 4)"""

    def __len__(self) -> int:
        return len(self.indices)

    def of(self, points: FloatArray) -> FloatArray:
        """(..., points, 2) of the points (..., all, 2) of faces; NaN where a point that it needs is."""
        return np.einsum("pk,...pkc->...pc", self.weights, points[..., self.indices, :])


@dataclass(frozen=True, eq=False, slots=True)
class CommonPoints:
    """The points that two tables are compared by."""

    names: tuple[str, ...]
    parts: tuple[str, ...]
    """Part of each point."""
    first: Places
    second: Places
    by_curve: npt.NDArray[np.bool_]
    """(points,) whether one of the tables has no point there, but a curve through its points."""
    only_first: tuple[str, ...]
    """Names of the points of the first table that are not compared."""
    only_second: tuple[str, ...]

    @property
    def part_names(self) -> tuple[str, ...]:
        """The parts, each once."""
        return tuple(dict.fromkeys(self.parts))


def common_points(first: TableResults, second: TableResults, same: Mapping[str, str] | None = None) -> CommonPoints:
    """Find the points that two tables are compared by.

    Points are the same if they lie at the same place of the same part; where nothing tells the places on the parts of one of
    the tables, if they have the same name and the part has as many points in both. Where the tables have other places of a
    part, those of the table with fewer points are looked up on a curve through the points of the other.

    Args:
        first: One table.
        second: The other.
        same: Names of points of the first table, and those of the same points in the second.

    Raises:
        UsageError: They have no points in common, or a name is unknown.
    """
    placed = first.table.query is not None and second.table.query is not None
    found: list[tuple[str, str, Places, Places, bool]] = []
    for name, other in (same or {}).items():
        _check_name(name, first)
        _check_name(other, second)
        at, to = first.query.names.index(name), second.query.names.index(other)
        found.append((name, first.query.parts[at], _direct(at), _direct(to), False))
    own = {name for name, *_ in found}
    theirs = set((same or {}).values())
    for part in dict.fromkeys(first.query.parts):
        mine = [i for i in _indices(first.query, part) if first.query.names[i] not in own]
        other_ones = [i for i in _indices(second.query, part) if second.query.names[i] not in theirs]
        pair = _of_part if placed else _by_name
        found += [
            (first.query.names[mine[0]] if name is None else name, part, a, b, curve)
            for name, a, b, curve in pair(first.query, second.query, part, mine, other_ones)
        ]
    if not found:
        raise UsageError(
            f"{first.table.path} ({_some(first.query.names)}) and {second.table.path} ({_some(second.query.names)}) have no "
            f"points in common; say which are the same: {spelled('same', 'NAME=NAME')}"
        )
    names, parts, ones, others, curves = zip(*found, strict=True)
    a, b = _stacked(ones), _stacked(others)
    return CommonPoints(
        names, parts, a, b, np.array(curves), _unused(first.query, a, placed), _unused(second.query, b, placed)
    )


def eye_corners(query: Query) -> Places | None:
    """Where the outer corners of the eyes lie among the points of a table: left and right; None where it lacks one."""
    for kind in ("eye", "mesh_eye"):
        both: list[Places | None] = []
        for part, position in ((f"left_{kind}", 0.0), (f"right_{kind}", 0.5)):
            places = _indices(query, part)
            exact = [i for i in places if abs(query.positions[i] - position) <= _SAME]
            both += [_direct(exact[0])] if exact else [_on_curve(query, part, places, position)]
        if all(place is not None for place in both):
            return _stacked([place for place in both if place is not None])
    return None


def _check_name(name: str, results: TableResults) -> None:
    if name not in results.query.names:
        raise UsageError(f"{results.table.path} has no point {name!r}; it has {_some(results.query.names)}")


def _some(names: Collection[str]) -> str:
    return f"{', '.join([*names][:4])}{', …' if len(names) > 4 else ''}"


def _indices(query: Query, part: str) -> list[int]:
    """Places of the points of one part, which is no group."""
    return [i for i, name in enumerate(query.parts) if name == part]


def _direct(index: int) -> Places:
    return Places(np.full((1, _NEIGHBOURS), index), np.eye(1, _NEIGHBOURS))


def _stacked(places: Collection[Places]) -> Places:
    return Places(
        np.concatenate([place.indices for place in places]), np.concatenate([place.weights for place in places])
    )


def _by_name(
    first: Query, second: Query, part: str, mine: list[int], others: list[int]
) -> list[tuple[str, Places, Places, bool]]:
    """Pairs of points with the same name, on a part with as many points in both tables."""
    places = {second.names[i]: i for i in others}
    if len(mine) != len(others):
        return []
    return [
        (first.names[i], _direct(i), _direct(places[first.names[i]]), False) for i in mine if first.names[i] in places
    ]


def _of_part(
    first: Query, second: Query, part: str, mine: list[int], others: list[int]
) -> list[tuple[str, Places, Places, bool]]:
    """Pairs of points of a part whose positions are known: those of the table with fewer points."""
    swapped = len(others) < len(mine)
    few, many = (second, first) if swapped else (first, second)
    wanted, there = (others, mine) if swapped else (mine, others)
    found = []
    for i in wanted:
        position = few.positions[i]
        exact = [j for j in there if _gap(part, many.positions[j], position) <= _SAME]
        place = _direct(exact[0]) if exact else _on_curve(many, part, there, position)
        if place is not None:
            pair = (place, _direct(i)) if swapped else (_direct(i), place)
            found.append((few.names[i], *pair, not exact))
    return found


def _gap(part: str, one: float, other: float) -> float:
    """Distance along a part; on a closed one the shorter way round."""
    gap = abs(one - other)
    return min(gap % 1.0, -gap % 1.0) if part in PARTS and PARTS[part].closed else gap


def _on_curve(query: Query, part: str, there: list[int], position: float) -> Places | None:
    """A place on a smooth curve through points of a part, which depends on the two before and the two behind it."""
    if part not in PARTS or len(there) < 2:
        return None
    closed = PARTS[part].closed
    indices = np.array(sorted(there, key=lambda i: query.positions[i]))
    knots = np.array([query.positions[i] for i in indices])
    around = knots
    if closed:
        if len(knots) < 3:
            return None
        around, position = np.concatenate([knots[-1:] - 1, knots, knots[:1] + 1]), position % 1.0
    before = int(np.searchsorted(around, position)) - 1
    if not 0 <= before < len(around) - 1 or around[before + 1] - around[before] > _WIDEST[closed]:
        return None
    weights = smooth_weights(PARTS[part], knots, np.array([position]))[0]
    needed = np.flatnonzero(weights)
    padding = (0, _NEIGHBOURS - len(needed))
    return Places(
        indices[np.pad(needed, padding, constant_values=needed[0])][None], np.pad(weights[needed], padding)[None]
    )


def _unused(query: Query, places: Places, placed: bool) -> tuple[str, ...]:
    """Points of parts that are not compared; where positions are known, a part that is compared by fewer places is."""
    used = {int(i) for i in places.indices[places.weights != 0]}
    parts = {query.parts[i] for i in used} if placed else set()
    return tuple(name for i, name in enumerate(query.names) if i not in used and query.parts[i] not in parts)


def eye_distances(points: FloatArray, corners: Places) -> FloatArray:
    """(...) pixels between the outer corners of the eyes of faces with points (..., all, 2)."""
    left, right = np.moveaxis(corners.of(points), -2, 0)
    return np.linalg.norm(right - left, axis=-1)


def names_by_part(query: Query, names: Collection[str]) -> dict[str, int]:
    """How many of these points each part has."""
    chosen = set(names)
    counts: dict[str, int] = {}
    for (part, _), name in zip(points_of(query), query.names, strict=True):
        if name in chosen:
            counts[part] = counts.get(part, 0) + 1
    return counts
