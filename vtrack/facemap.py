"""A labelled map of the face: every part on the unified template, where it starts and which way it runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator

from vtrack.errors import QueryError
from vtrack.parts import GROUPS, PARTS, plain
from vtrack.template import Curve, load_template
from vtrack.types import FloatArray, ImageArray, Query

Colour = tuple[int, int, int]

_LEGEND = (
    "left and right are the image's",
    "a ring is position 0, its arrow shows the way to 1",
    "dots and numbers: the points asked for, or those by default",
)

_WIDTH, _HEIGHT = 1500, 1560
# Where the middle between the eyes lies, and how many pixels their outer corners are apart.
_MIDDLE, _EYES, _UNIT = _WIDTH / 2, 690, 390
_MARGIN, _TOP, _BOTTOM, _GAP = 270, 210, 210, 46
# The groups below the face: size of their letters, and width of a column.
_GROUP_SCALE, _COLUMN = 0.62, 480
# Drawn larger and averaged down, so that lines and letters are smooth.
_FINE = 3
_BACK, _INK, _MUTED, _SKIN = (255, 255, 255), (33, 37, 41), (134, 142, 150), (250, 246, 242)

_FAMILIES: tuple[tuple[Colour, tuple[str, ...]], ...] = (
    ((46, 125, 190), ("jaw", "chin", "chin_crease", "neck")),
    ((122, 81, 56), ("brow", "brow_center", "low_brow")),
    ((11, 139, 116), ("eye", "eye_center", "eyelid", "eyelid_crease", "under_eye")),
    ((96, 70, 190), ("iris", "pupil")),
    ((214, 120, 20), ("nose_bridge", "nose_line", "nose_base", "nose_side", "nose_ridge", "nostril")),
    ((208, 52, 88), ("outer_lip", "inner_lip", "mouth_center", "philtrum")),
    ((125, 135, 45), ("smile_line", "cheek")),
    ((110, 110, 120), ("hairline", "forehead", "hair", "ear", "ear_base")),
)
# Position where the line from a part's name ends, for parts whose outermost point is not a good place.
_TARGETS = {
    "jaw": 0.19,
    "hairline": 0.75,
    "hair": 0.75,
    "nose_bridge": 0.67,
    "chin": 0.67,
    "neck": 0.2,
    "nose_base": 0.17,
}
_COLOURS = {name: colour for colour, names in _FAMILIES for name in names}


@dataclass(frozen=True, slots=True)
class _Label:
    """A part's name beside the face, and the point that its line leads to."""

    part: str
    target: tuple[float, float]
    left: bool


def draw_map(query: Query | None = None) -> ImageArray:
    """Draw a labelled map of the face.

    Args:
        query: The parts and points to draw; by default all parts with their default points.

    Returns:
        (H, W, 3) RGB image.

    Raises:
        QueryError: A part of the query is not on the face template.
    """
    curves = load_template().curves
    points = {part: PARTS[part].positions() for part in (*GROUPS["all"], *GROUPS["portrait"]) if part in curves}
    if query:
        absent = sorted(set(query.parts) - set(curves))
        if absent:
            raise QueryError(f"{absent[0]} cannot be drawn, since it is not on the face template; leave it out")
        points = {part: tuple(query.positions[i] for i in query.indices(part)) for part in dict.fromkeys(query.parts)}
    shown = [part for part in PARTS if part in points]
    canvas = np.full((_HEIGHT * _FINE, _WIDTH * _FINE, 3), _BACK, np.uint8)
    _draw_face(canvas, curves["jaw"], curves["hairline"])
    for part in shown:
        _draw_part(canvas, curves[part], points[part], _colour(part))
    _draw_labels(canvas, _labels(shown, curves), {part: len(positions) for part, positions in points.items()})
    _write(canvas, "Parts of a face", (44, 66), 1.25, _INK, thick=2)
    for i, line in enumerate(_LEGEND):
        _write(canvas, line, (44, 104 + 28 * i), 0.62, _MUTED)
    _draw_groups(canvas, set(shown))
    small = cv2.resize(canvas, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _colour(part: str) -> Colour:
    return _COLOURS[plain(part).removeprefix("left_").removeprefix("right_")]


def _pixels(places: FloatArray) -> FloatArray:
    """Places on the template as pixels of the map."""
    return places * _UNIT + (_MIDDLE, _EYES)


def _smooth(curve: Curve, positions: FloatArray | None = None) -> FloatArray:
    """(n, 2) places on the smooth line through a curve's knots; all along it when no positions are given."""
    ends = curve.positions[0], 1.0 if curve.closed else curve.positions[-1]
    at = np.linspace(*ends, 160) if positions is None else np.asarray(positions)
    if len(curve.places) < 3:
        return curve.places if positions is None else curve.at(at)
    if curve.closed:
        looped = np.concatenate([curve.places, curve.places[:1]])
        return np.asarray(CubicSpline(np.append(curve.positions, 1.0), looped, bc_type="periodic")(at))
    kind = PchipInterpolator if len(curve.places) < 5 else CubicSpline
    return np.asarray(kind(curve.positions, curve.places)(at))


def _draw_face(canvas: ImageArray, jaw: Curve, hairline: Curve) -> None:
    """The face's area, faintly, behind everything."""
    outline = np.concatenate([_smooth(jaw), _smooth(hairline)[::-1]])
    cv2.fillPoly(canvas, [_fixed(_pixels(outline))], _SKIN, cv2.LINE_AA, 3)


def _draw_part(canvas: ImageArray, curve: Curve, positions: Sequence[float], colour: Colour) -> None:
    """One part's line, its points, a ring at its start and an arrow along it."""
    line = _pixels(_smooth(curve))
    if len(line) > 1:
        cv2.polylines(canvas, [_fixed(line)], curve.closed, colour, round(1.6 * _FINE), cv2.LINE_AA, 3)
    for point in _pixels(_smooth(curve, np.array(positions))):
        _dot(canvas, point, 3.4, colour)
    start = _pixels(curve.places[:1])[0]
    if len(line) > 1:
        _dot(canvas, start, 5.6, colour)
        _dot(canvas, start, 3.2, _BACK)
        _draw_arrow(canvas, line, colour)


def _draw_arrow(canvas: ImageArray, line: FloatArray, colour: Colour) -> None:
    """An arrow head on a line, a little after its start."""
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    spots = np.interp([min(14.0, way[-1] * 0.45), min(23.0, way[-1] * 0.45 + 9)], way, np.arange(len(way)))
    base, tip = (np.array([np.interp(spot, np.arange(len(way)), axis) for axis in line.T]) for spot in spots)
    ahead = (tip - base) / max(float(np.linalg.norm(tip - base)), 1e-6)
    aside = np.array([-ahead[1], ahead[0]])
    corners = np.stack([base + ahead * 9, base + aside * 4.6, base - aside * 4.6])
    cv2.fillPoly(canvas, [_fixed(corners)], colour, cv2.LINE_AA, 3)


def _labels(parts: Sequence[str], curves: Mapping[str, Curve]) -> list[_Label]:
    """Where each part's name goes: parts of one side to that side, the others to whichever side has fewer."""
    sided = [part for part in parts if part.startswith(("left_", "right_"))]
    labels = [_label(part, curves[part], part.startswith("left_")) for part in sided]
    for part in (part for part in parts if part not in sided):
        left = sum(label.left for label in labels) * 2 <= len(labels)
        if part in _TARGETS and not curves[part].closed:
            left = left if _TARGETS[part] == 0.67 else _TARGETS[part] < 0.5
        labels.append(_label(part, curves[part], left))
    return labels


def _label(part: str, curve: Curve, left: bool) -> _Label:
    """A part's name, with a line to its place in `_TARGETS` or to its point nearest to the name's side."""
    if part in _TARGETS:
        x, y = _pixels(_smooth(curve, np.array([_TARGETS[part]])))[0]
    else:
        places = _pixels(curve.places)
        x, y = places[int(places[:, 0].argmin() if left else places[:, 0].argmax())]
    return _Label(part, (float(x), float(y)), left)


def _draw_labels(canvas: ImageArray, labels: Sequence[_Label], counts: Mapping[str, int]) -> None:
    """Names and numbers of points in two columns, ordered by their targets' heights, each with a line to its target."""
    for left in (True, False):
        column = sorted((label for label in labels if label.left == left), key=lambda label: label.target[1])
        edge, inwards = (_MARGIN, 1) if left else (_WIDTH - _MARGIN, -1)
        for label, y in zip(column, _spread_out([label.target[1] for label in column]), strict=True):
            colour, count = _colour(label.part), counts[label.part]
            route = np.array([[edge, y], [edge + 26 * inwards, y], label.target])
            cv2.polylines(canvas, [_fixed(route)], False, _paler(colour), _FINE - 1, cv2.LINE_AA, 3)
            width = _text_width(label.part, 0.68)
            x = edge - 12 - width if left else edge + 12
            _write(canvas, label.part, (x, y + 6), 0.68, colour)
            if count > 1:
                beside = x - 14 - _text_width(str(count), 0.56) if left else x + width + 14
                _write(canvas, str(count), (beside, y + 6), 0.56, _MUTED)


def _draw_groups(canvas: ImageArray, shown: set[str]) -> None:
    """What the groups stand for, below the face."""
    named = [(name, parts) for name, parts in GROUPS.items() if name not in ("all", "face") and set(parts) <= shown]
    texts = [f"{name} = {_pairs_joined(parts)}" for name, parts in named]
    if set(GROUPS["face"]) <= shown:
        texts.append("face = jaw, brows, eyes, nose, lips, pupils")
    for text, at in zip(texts, _flowed(texts), strict=True):
        _write(canvas, text, at, _GROUP_SCALE, _MUTED)


def _pairs_joined(parts: Sequence[str]) -> str:
    """Parts with `left/right_ear` for the two ears."""
    bases = {part: part.removeprefix("left_").removeprefix("right_") for part in parts}
    both = {base for base in bases.values() if {f"left_{base}", f"right_{base}"} <= set(parts)}
    return ", ".join(dict.fromkeys(f"left/right_{base}" if base in both else part for part, base in bases.items()))


def _flowed(texts: Sequence[str]) -> list[tuple[float, float]]:
    """Where each text of the foot begins, in three columns; a long one takes more than one."""
    cells, column, row = [], 0, 0
    for text in texts:
        span = math.ceil((_text_width(text, _GROUP_SCALE) + 20) / _COLUMN)
        if column + span > 3:
            column, row = 0, row + 1
        cells.append((column, row))
        column += span
    return [(44 + _COLUMN * column, _HEIGHT - 30 - 34 * (row - line)) for column, line in cells]


def _spread_out(wanted: Sequence[float]) -> FloatArray:
    """Heights (n,) near the wanted ones, which rise, at least a gap apart and within the page."""
    count = len(wanted)
    gap = min(_GAP, (_HEIGHT - _TOP - _BOTTOM) / max(count - 1, 1))
    steps = np.arange(count) * gap
    # With the gaps taken away, heights only have to rise: the nearest such heights are found by pooling neighbours.
    free = np.clip(np.array(wanted) - steps, _TOP, _HEIGHT - _BOTTOM - (steps[-1] if count else 0.0))
    pools: list[list[float]] = []
    for height in free:
        pools.append([float(height)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    return np.array([float(np.mean(pool)) for pool in pools for _ in pool]) + steps


def _paler(colour: Colour) -> Colour:
    red, green, blue = (round(255 - (255 - value) * 0.45) for value in colour)
    return red, green, blue


def _fixed(points: FloatArray) -> np.ndarray:
    """Map pixels as OpenCV's fixed point (eighths) on the fine canvas."""
    return np.round(np.asarray(points) * _FINE * 8).astype(np.int32)


def _dot(canvas: ImageArray, point: FloatArray, radius: float, colour: Colour) -> None:
    x, y = _fixed(point)
    cv2.circle(canvas, (int(x), int(y)), round(radius * _FINE * 8), colour, -1, cv2.LINE_AA, 3)


def _text_width(text: str, scale: float) -> float:
    return float(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale * _FINE, _FINE)[0][0]) / _FINE


def _write(
    canvas: ImageArray, text: str, at: tuple[float, float], scale: float, colour: Colour, thick: int = 1
) -> None:
    where = (round(at[0] * _FINE), round(at[1] * _FINE))
    cv2.putText(canvas, text, where, cv2.FONT_HERSHEY_SIMPLEX, scale * _FINE, colour, thick * _FINE, cv2.LINE_AA)
