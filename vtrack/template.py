"""The unified face template, and the positions that follow from it (the UDFLD paper, section 3 and equation 8).

The data sets' mean shapes are aligned by the landmarks they share with 300W, and united. On each part one layout leads;
its landmarks, and those of others beyond its ends, are the part's sequence of N landmarks. Others are laid along it: a
landmark's position is its place in the sequence over the sequence's length, `place / (N - 1)`. Landmarks at the same
place form a cluster; the distances within a cluster measure how well the data sets agree.

`template.csv` holds the result for drawing and for anything that needs a face's rough shape.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from vtrack.errors import DataError, QueryError
from vtrack.layouts import Layout, points_of
from vtrack.parts import PARTS, Part, find_part, is_of_mesh, nearest, plain
from vtrack.types import FloatArray, Query

TEMPLATE = Path(__file__).parent / "template.csv"

_REFERENCE = "300w"
# The leading layout of a part: the one of these with most points on it, or else the one with most points.
_LEADING = (_REFERENCE, "wflw")
# Parts that no paper numbers: they start or end on another part, and positions are arc lengths.
_JOINED: Mapping[str, tuple[tuple[str, float] | None, tuple[str, float] | None]] = {
    "hairline": (("jaw", 0.0), ("jaw", 1.0)),
    "left_nose_side": (None, ("nose_base", 0.0)),
    "right_nose_side": (None, ("nose_base", 1.0)),
    "left_nostril": (None, None),
    "right_nostril": (None, None),
    "chin": (("chin_crease", 0.5), ("jaw", 0.5)),
}
# A landmark no farther than this from a place of the sequence, in steps, belongs to that place's cluster.
_SNAP = 0.3
_SAMPLES = 512
# A landmark is beyond the end of a sequence when it is farther from it than this share of a step.
_BEYOND = 0.75


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """A part on the template: knots at positions along it."""

    positions: FloatArray
    """(knots,) rising, 0..1; a closed part has no knot at 1."""
    places: FloatArray
    """(knots, 2) in outer-eye-corner distances, the middle between these corners at (0, 0), y down."""
    closed: bool

    def at(self, positions: FloatArray) -> FloatArray:
        """(n, 2) places at positions (n,)."""
        period = 1.0 if self.closed else None
        return np.stack([np.interp(positions, self.positions, axis, period=period) for axis in self.places.T], -1)


@dataclass(frozen=True, eq=False, slots=True)
class Template:
    """The curve of every part."""

    curves: Mapping[str, Curve]

    def locate(self, query: Query) -> FloatArray:
        """(points, 2) locations of a query's points on the template.

        Raises:
            QueryError: A part is not on the template.
        """
        out = np.empty((len(query), 2))
        for part in dict.fromkeys(query.parts):
            if part not in self.curves:
                raise QueryError(f"{part} is not on the face template; {nearest(part, self.curves)}")
            chosen = query.indices(part)
            out[chosen] = self.curves[part].at(np.array([query.positions[i] for i in chosen]))
        return out


@dataclass(frozen=True, eq=False, slots=True)
class Union:
    """Result of `unite`."""

    template: Template
    lengths: Mapping[str, int]
    """N of each part: the landmarks of its sequence, a closed part's start counted again as its end."""
    positions: Mapping[str, FloatArray]
    """(points,) for each layout, the computed positions."""
    spreads: Mapping[str, float]
    """For each part, the mean distance of landmarks to the middle of their cluster; NaN where there is no cluster."""


def unite(shapes: Mapping[str, tuple[Layout, FloatArray]]) -> Union:
    """The unified template of layouts with their mean shapes (points, 2). `300w` must be among them."""
    if _REFERENCE not in shapes:
        raise DataError(f"the template starts from the mean shape of {_REFERENCE}; there are {', '.join(shapes)}")
    layouts = {name: layout for name, (layout, _) in shapes.items()}
    base = _based(*shapes[_REFERENCE])
    faces = {
        name: base if name == _REFERENCE else _laid_on(layout, shape, layouts[_REFERENCE], base)
        for name, (layout, shape) in shapes.items()
    }
    curves: dict[str, Curve] = {}
    lengths, spreads = {}, {}
    positions = {name: np.zeros(len(layout)) for name, layout in layouts.items()}
    for part in sorted(PARTS.values(), key=lambda part: part.name in _JOINED):
        having = {name: ids for name, layout in layouts.items() if (ids := _ordered(layout, part.name))}
        if not having:
            continue
        lead = max([name for name in _LEADING if name in having] or having, key=lambda name: len(having[name]))
        target = faces[lead][having[lead]]
        lines = {
            name: _fitted(faces[name][ids], _shared(layouts[name], ids, layouts[lead], having[lead]), target)
            for name, ids in having.items()
        }
        if is_of_mesh(part.name):
            curve = _walked(part, target)
        elif part.name in _JOINED:
            curve = _joined(target, *(end and curves[end[0]].at(np.array(end[1:])) for end in _JOINED[part.name]))
        else:
            curve = _extended(part, target, [line for name, line in lines.items() if name != lead])
        lengths[part.name] = len(curve.places) + part.closed
        found = {name: _along(curve, line) for name, line in lines.items()}
        for name, ids in having.items():
            positions[name][ids] = found[name]
        curves[part.name] = curve
        spreads[part.name] = _spread(curve, [(found[name], faces[name][ids]) for name, ids in having.items()])
    for name in PARTS:
        # The middle of a brow or an eye that no data set marks is the middle of its curve.
        around = name.removesuffix("_center")
        if name not in curves and around in curves:
            curves[name] = Curve(np.zeros(1), curves[around].places.mean(0, keepdims=True), closed=False)
    mirrored = {name: _mirror_mean(layouts[name], places) for name, places in positions.items()}
    return Union(Template(curves), lengths, mirrored, spreads)


def _ordered(layout: Layout, part: str) -> list[int]:
    """The points of a part in their order along it."""
    return sorted(layout.query.indices(part), key=lambda i: layout.query.positions[i])


def _based(layout: Layout, shape: FloatArray) -> FloatArray:
    """The reference's mean shape, upright, in outer-eye-corner distances about the middle between these."""
    left, right = (shape[place] for place in layout.inter_ocular)
    across = (right - left) / np.linalg.norm(right - left) ** 2
    turn = np.array([[across[0], -across[1]], [across[1], across[0]]])
    return _symmetric(layout, (shape - (left + right) / 2) @ turn)


def _laid_on(layout: Layout, shape: FloatArray, other: Layout, target: FloatArray) -> FloatArray:
    """A shape moved so that the landmarks it shares with another's lie on these."""
    pairs = _shared(layout, range(len(layout)), other, range(len(other)), rename=plain)
    if len(pairs) < 3:
        raise DataError(f"the layout {layout.name} shares {len(pairs)} landmarks with {other.name}; 3 are needed")
    mine, theirs = (np.array(ids) for ids in zip(*pairs, strict=True))
    ones = np.ones((len(shape), 1))
    affine = np.linalg.lstsq(np.concatenate([shape[mine], ones[mine]], 1), target[theirs], rcond=None)[0]
    return _symmetric(layout, np.concatenate([shape, ones], 1) @ affine)


def _symmetric(layout: Layout, shape: FloatArray) -> FloatArray:
    """A shape averaged with its mirror image about x = 0: a mean face looks straight ahead."""
    return (shape + shape[layout.mirror] * (-1.0, 1.0)) / 2


def _shared(
    layout: Layout,
    ids: Sequence[int],
    other: Layout,
    other_ids: Sequence[int],
    rename: Callable[[str], str] = str,
) -> list[tuple[int, int]]:
    """Places within `ids` and `other_ids` of points that are the same landmark by name, the first's names changed."""
    names = {(part, round(position, 3)): i for i, (part, position) in enumerate(points_of(other.query))}
    where = {i: place for place, i in enumerate(other_ids)}
    found = []
    for place, i in enumerate(ids):
        part, position = layout.query.parts[i], layout.query.positions[i]
        match = where.get(names.get((rename(part), round(position, 3)), -1))
        if match is not None:
            found.append((place, match))
    return found


def _fitted(line: FloatArray, pairs: list[tuple[int, int]], target: FloatArray) -> FloatArray:
    """A part's points scaled and shifted so that the landmarks it shares with the leader's lie on these.

    Faces differ in where a part lies and how large it is; only the place along the part matters here.
    """
    if len(pairs) < 2:
        return line
    mine, theirs = (np.array(ids) for ids in zip(*pairs, strict=True))
    start, goal = line[mine], target[theirs]
    scale = float(np.linalg.norm(np.ptp(goal, axis=0)) / np.linalg.norm(np.ptp(start, axis=0)))
    return (line - start.mean(0)) * scale + goal.mean(0)


def _extended(part: Part, places: FloatArray, lines: Sequence[FloatArray]) -> Curve:
    """The leader's landmarks as a sequence, with those of others that lie beyond its ends."""
    if not part.closed and len(places) > 1:
        step = np.linalg.norm(np.diff(places, axis=0), axis=1).mean()
        before = [line[0] for line in lines if _beyond(line[0], places) > _BEYOND * step]
        after = [line[-1] for line in lines if _beyond(line[-1], places[::-1]) > _BEYOND * step]
        ends = [np.mean(found, 0, keepdims=True) if found else places[:0] for found in (before, after)]
        places = np.concatenate([ends[0], places, ends[1]])
    return Curve(np.array(part.positions(len(places))) if len(places) > 1 else np.zeros(1), places, part.closed)


def _beyond(point: FloatArray, places: FloatArray) -> float:
    """How far a point lies beyond the first place of a sequence; 0 for a point alongside it."""
    away = point - places[0]
    return float(np.linalg.norm(away)) if away @ (places[0] - places[1]) > 0 else 0.0


def _joined(places: FloatArray, start: FloatArray | None, end: FloatArray | None) -> Curve:
    """A sequence with the ends it joins; positions are arc lengths."""
    places = np.concatenate([end_places for end_places in (start, places, end) if end_places is not None])
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(places, axis=0), axis=1))])
    return Curve(way / way[-1], places, closed=False)


def _walked(part: Part, places: FloatArray) -> Curve:
    """A sequence whose positions are the way along it; the far corner of a closed part, halfway by count, is at 1/2."""
    if not part.closed:
        return _joined(places, None, None)
    corner = len(places) // 2
    looped = np.concatenate([places, places[:1]])
    there, back = _joined(looped[: corner + 1], None, None), _joined(looped[corner:], None, None)
    return Curve(np.concatenate([there.positions / 2, (1 + back.positions[1:-1]) / 2]), places, closed=True)


def _along(curve: Curve, line: FloatArray) -> FloatArray:
    """(n,) positions of points (n, 2) on a curve: nearest to it together, and in their order."""
    if len(curve.places) == 1:
        return np.zeros(len(line))
    # On a closed curve the first point may lie a little before the start.
    grid = np.linspace(-0.1 if curve.closed else 0.0, 1.0, _SAMPLES, endpoint=not curve.closed)
    costs = ((curve.at(grid % 1.0 if curve.closed else grid)[None] - line[:, None]) ** 2).sum(-1)
    total, steps = costs[0], []
    for cost in costs[1:]:
        best = np.minimum.accumulate(total)
        steps.append(np.maximum.accumulate(np.where(total <= best, np.arange(len(grid)), 0)))
        total = best + cost
    at = [int(total.argmin())]
    for step in reversed(steps):
        at.append(int(step[at[-1]]))
    places = grid[at[::-1]]
    return places % 1.0 if curve.closed else places


def _spread(curve: Curve, members: Sequence[tuple[FloatArray, FloatArray]]) -> float:
    """The mean distance of landmarks, given as positions (n,) and places (n, 2), to the middles of their clusters."""
    count = len(curve.places)
    knots = np.append(curve.positions, 1.0) if curve.closed else curve.positions
    at = np.interp(np.concatenate([found for found, _ in members]), knots, np.arange(len(knots)))
    points = np.concatenate([line for _, line in members])
    slots = np.where(np.abs(at - np.round(at)) < _SNAP, np.round(at).astype(int) % count, -1)
    clusters = [points[slots == slot] for slot in range(count) if (slots == slot).sum() > 1]
    distances = [np.linalg.norm(cluster - cluster.mean(0), axis=1) for cluster in clusters]
    return float(np.concatenate(distances).mean()) if distances else float("nan")


def _mirror_mean(layout: Layout, positions: FloatArray) -> FloatArray:
    """Positions averaged with those that the mirror images ask for."""
    out = positions.copy()
    for i, (part, _) in enumerate(points_of(layout.query)):
        partner = int(layout.mirror[i])
        wanted = find_part(layout.query.parts[partner]).mirrored(float(positions[partner]))
        offset = wanted - positions[i]
        if PARTS[part].closed:
            offset = (offset + 0.5) % 1.0 - 0.5
            out[i] = (positions[i] + offset / 2) % 1.0
        else:
            out[i] = positions[i] + offset / 2
    return out


def write_template(template: Template, path: Path = TEMPLATE) -> None:
    """Write a template as a table of part, position, x, y."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("part", "position", "x", "y"))
        for part in PARTS:
            if part in template.curves:
                curve = template.curves[part]
                for position, (x, y) in zip(curve.positions, curve.places, strict=True):
                    table.writerow((part, f"{position:.4f}", f"{x:.4f}", f"{y:.4f}"))


@cache
def load_template() -> Template:
    """The shipped template."""
    with TEMPLATE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    knots = {part: [row for row in rows if row["part"] == part] for part in dict.fromkeys(row["part"] for row in rows)}
    return Template(
        {
            part: Curve(
                np.array([float(row["position"]) for row in found]),
                np.array([[float(row["x"]), float(row["y"])] for row in found]),
                PARTS[part].closed,
            )
            for part, found in knots.items()
        }
    )
