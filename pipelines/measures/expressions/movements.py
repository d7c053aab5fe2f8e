"""How the points of a face become movements of eyes, brows and mouth: sums of points in the axes of the head.

A feature is such a sum, like the height of a brow. Points of eyes' corners and nose are subtracted from it, with the weights
that let errors change it least: those of the points, of the fitted turn and size, and of the depth of a person's face, as a
head that looks aside shows them. Expressions are sums of features. Lengths are in units of the distance between the outer
corners of the mean face's eyes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import numpy as np

from vtrack.measures import ACTION_UNITS, ASYMMETRIES, EXPRESSIONS, SPEEDS
from vtrack.pipelines.measures.face_fit import FaceFit, FaceModel, face_model
from vtrack.pipelines.measures.points import EXPRESSION_QUERY
from vtrack.types import FloatArray


class Term(NamedTuple):
    """The mean of points of a part, as one addend of a feature."""

    axis: int
    """0 for x, 1 for y."""
    weight: float
    part: str
    positions: tuple[float, ...]


class Feature(NamedTuple):
    """A feature, and what it is in faces at rest."""

    terms: tuple[Term, ...]
    rest: float
    """Median of photographs with a shut mouth."""
    spread: float
    """Standard deviation between persons at rest, or what comes near to it."""


def _mean(axis: str, weight: float, part: str, *numbers: int) -> Term:
    """Points by the numbers of their positions in the layout `300w`."""
    count = {"eye": 6, "brow": 9, "base": 6, "inner_lip": 8, "outer_lip": 12, "jaw": 32}
    parts = next(parts for name, parts in count.items() if part.endswith(name))
    return Term("xy".index(axis), weight, part, tuple(number / parts for number in numbers))


def _of_side(side: str) -> dict[str, Feature]:
    """The features of one side of the image."""
    left = side == "left"
    eye, brow, out = f"{side}_eye", f"{side}_brow", -1.0 if left else 1.0
    corner_outer, corner_inner = (0, 0) if left else (6, 4)
    upper_outer, upper_inner = (2, 1) if left else (4, 3)
    return {
        f"{side}_lids": Feature((_mean("y", 1, eye, 4, 5), _mean("y", -1, eye, 1, 2)), 0.004, 0.022),
        f"{side}_inner_brow": Feature((_mean("y", -1, brow, *((3, 4) if left else (0, 1))),), -0.009, 0.037),
        f"{side}_outer_brow": Feature((_mean("y", -1, brow, *((0, 1, 2) if left else (2, 3, 4))),), 0.001, 0.043),
        f"{side}_corner_up": Feature(
            (_mean("y", -0.5, "outer_lip", corner_outer), _mean("y", -0.5, "inner_lip", corner_inner)), -0.012, 0.045
        ),
        f"{side}_corner_out": Feature(
            (_mean("x", out / 2, "outer_lip", corner_outer), _mean("x", out / 2, "inner_lip", corner_inner)),
            -0.017,
            0.033,
        ),
        f"{side}_upper_lip": Feature(
            (_mean("y", -0.5, "outer_lip", upper_outer), _mean("y", -0.5, "inner_lip", upper_inner)), -0.013, 0.03
        ),
    }


FEATURES: Mapping[str, Feature] = {
    **_of_side("left"),
    **_of_side("right"),
    "gap": Feature((_mean("y", 1, "inner_lip", 5, 6, 7), _mean("y", -1, "inner_lip", 1, 2, 3)), -0.056, 0.01),
    "chin": Feature((_mean("y", 1, "jaw", 14, 16, 18),), -0.013, 0.074),
    "mouth": Feature((_mean("x", 0.5, "outer_lip", 3, 9), _mean("x", 0.5, "inner_lip", 2, 6)), 0.0, 0.02),
    "upper_height": Feature((_mean("y", 1, "inner_lip", 1, 2, 3), _mean("y", -1, "outer_lip", 2, 3, 4)), 0.008, 0.025),
    "lower_height": Feature((_mean("y", 1, "outer_lip", 8, 9, 10), _mean("y", -1, "inner_lip", 5, 6, 7)), 0.001, 0.03),
}
"""Features by name; left and right are those of the image. `rest` and `spread` are of 573 photographs of `w68`, training part,
by `python -m vtrack.training.studies.expressions`."""
LIDS = [i for i, name in enumerate(FEATURES) if name.endswith("_lids")]
"""Places of the features that are told relative to the person's own open eye."""
GAP = list(FEATURES).index("gap")

_ANCHORS = {"eye": 1.0, "nose_bridge": 1.0, "nose_base": 0.5}
"""Weights of the parts that move least. Of eyes the corners count alone."""
_POINT = 0.009
"""Standard deviation of a point in units, as far as it differs between frames of the same person; of an anchor, over its
weight."""
_ASIDE = (0.36, 0.15)
"""Tangents of the yaw and the pitch that heads commonly have."""
_TURN, _ROLL, _SIZE, _SHIFT = 0.07, 0.01, 0.03, 10.0
"""Standard deviations of the pose, as far as it differs between turns of a head: radians of yaw and pitch, of roll, size as a
share, place in units. By a nose that is longer than the fitted one the yaw is wrong by 2° where the head turns by 25°, and a
mouth that goes aside turns it, too; the place does not matter at all."""
CORNERS = [list(FEATURES).index(f"{side}_corner_out") for side in ("left", "right")]
"""Places of the corners of the mouth, which go back around the teeth when they go outwards."""
BACK = 0.56
"""How far they go back, over the way outwards: the slope of the modes of faces, as far as they do not stay with a person."""

_JAW = {"gap": 0.5 / 0.30, "chin": 0.5 / 0.20}
"""Opening of the jaw by the gap between the lips and by the way of the chin, which is the less accurate of the two."""
_CLOSED = 0.85
"""Share of the opening of an eye that is lost when it is shut: shut eyes are predicted at 0.15 of their opening."""


def _sum(*parts: tuple[float, Mapping[str, float]]) -> dict[str, float]:
    """A weighted sum of sums."""
    total: dict[str, float] = {}
    for weight, terms in parts:
        for name, value in terms.items():
            total[name] = total.get(name, 0.0) + weight * value
    return total


def _sums() -> dict[str, dict[str, float]]:
    """Expressions as sums of features, 1 at their strongest."""
    sums: dict[str, dict[str, float]] = {}
    for side, person, out in (("left", "Right", -1), ("right", "Left", 1)):  # of the image, of the person
        up = _sum((1 / 0.09, {f"{side}_corner_up": 1.0}), (0.06 / 0.09, _JAW))
        sums |= {
            f"eyeBlink{person}": {f"{side}_lids": -1 / _CLOSED},
            f"eyeWide{person}": {f"{side}_lids": 1 / 0.6},
            f"browDown{person}": {f"{side}_inner_brow": -1 / 0.07},
            f"browOuterUp{person}": {f"{side}_outer_brow": 1 / 0.10},
            # A jaw that opens takes the corners of the mouth down with it.
            f"mouthSmile{person}": up,
            f"mouthFrown{person}": _sum((-0.09 / 0.05, up)),
            # Smiles widen the mouth, too, and a mouth that goes aside does not.
            f"mouthStretch{person}": _sum((1 / 0.08, {f"{side}_corner_out": 1, "mouth": -out}), (-0.06 / 0.08, up)),
            f"mouthUpperUp{person}": _sum((1 / 0.07, {f"{side}_upper_lip": 1.0}), (-0.02 / 0.07, up)),
        }
    narrow = dict.fromkeys(("left_corner_out", "right_corner_out"), -0.5 / 0.09)
    brows = dict.fromkeys(("left_inner_brow", "right_inner_brow"), 0.5 / 0.10)
    sums |= {
        "browInnerUp": brows,
        "jawOpen": _JAW,
        "mouthFunnel": narrow,
        "mouthPucker": narrow,
        "mouthLeft": {"mouth": 1 / 0.08},
        "mouthRight": {"mouth": -1 / 0.08},
        "mouthRollUpper": {"upper_height": -1 / 0.04},
        "mouthRollLower": {"lower_height": -1 / 0.05},
    }

    def both(shape: str, sign: float = 1.0) -> dict[str, float]:
        return _sum((0.5, sums[f"{shape}Left"]), (sign * 0.5, sums[f"{shape}Right"]))

    units = (
        *(brows, both("browOuterUp"), both("browDown"), both("mouthSmile"), both("mouthFrown")),
        *({"gap": 1 / PARTED}, _JAW, both("eyeBlink")),
    )
    sums |= dict(zip(ACTION_UNITS, units, strict=True))
    height = {
        person: _sum((0.5, {f"{side}_inner_brow": 1 / 0.10}), (0.5, {f"{side}_outer_brow": 1 / 0.10}))
        for side, person in (("left", "Right"), ("right", "Left"))
    }
    differences = (
        _sum((2, both("eyeBlink", -1))),
        _sum((1, height["Left"]), (-1, height["Right"])),
        _sum((2, both("mouthSmile", -1))),
    )
    sums |= dict(zip(ASYMMETRIES, differences, strict=True))
    moving = both("eyeBlink"), _sum((0.5, height["Left"]), (0.5, height["Right"])), both("mouthSmile"), _JAW
    return sums | dict(zip(SPEEDS, moving, strict=True))


PARTED, ROUND = 0.10, 0.04
"""Gap between the lips beyond that at rest with which they are parted wholly, and with which narrow lips are a funnel."""


class Matrices(NamedTuple):
    """All sums as matrices."""

    features: FloatArray
    """(features, points, 2) weights of the points of `EXPRESSION_QUERY`."""
    sums: FloatArray
    """(expressions, features)"""
    rest: FloatArray
    """(features,)"""
    spread: FloatArray
    """(features,)"""
    opening: float
    """Opening of an eye of the mean face."""


@cache
def matrices() -> Matrices:
    """The sums of points and of features."""
    query, model = EXPRESSION_QUERY, face_model(EXPRESSION_QUERY)
    places = {(part, round(at, 6)): i for i, (part, at) in enumerate(zip(query.parts, query.positions, strict=True))}
    plain = np.zeros((len(FEATURES), len(query), 2))
    for row, feature in zip(plain, FEATURES.values(), strict=True):
        for term in feature.terms:
            chosen = [places[term.part, round(position, 6)] for position in term.positions]
            row[chosen, term.axis] += term.weight / len(chosen)
    opening = float((plain[LIDS[0]] * model.mean[:, :2]).sum())
    own, names, columns = _sums(), EXPRESSIONS, list(FEATURES)
    sums = np.array([[own[name].get(feature, 0.0) for feature in columns] for name in names])
    rest, spread = np.array([(feature.rest, feature.spread) for feature in FEATURES.values()]).T
    return Matrices(_anchored(plain, model), sums, rest, spread, opening)


def _anchored(weights: FloatArray, model: FaceModel) -> FloatArray:
    """Features (features, points, 2) with anchors, as weights that errors change least."""
    parts, at = EXPRESSION_QUERY.parts, EXPRESSION_QUERY.positions
    trust = np.array(
        [
            next((trust for name, trust in _ANCHORS.items() if part.endswith(name)), 0.0)
            * (not part.endswith("eye") or position in (0.0, 0.5))
            for part, position in zip(parts, at, strict=True)
        ]
    ).repeat(2)
    x, y, z = model.mean.T
    zero, one = np.zeros_like(x), np.ones_like(x)
    aside, nod = _ASIDE
    # How points move with errors of the place, the size, the roll, the yaw and the pitch; those of yaw and pitch stretch
    # and shear the face, too, where the head looks aside.
    errors = [
        *((_SHIFT, one, zero), (_SHIFT, zero, one), (_SIZE, x, y), (_ROLL, -y, x), (_TURN, z, zero), (_TURN, zero, -z)),
        *((_TURN * aside, x, zero), (_TURN * aside, y, zero), (_TURN * nod, zero, x), (_TURN * nod, zero, y)),
    ]
    moves = np.array([(size * along, size * down) for size, along, down in errors])
    moves = moves.transpose(0, 2, 1).reshape(len(errors), -1)
    depth = np.tensordot(model.modes[..., 2], model.modes[..., 2], (0, 0))
    covariance = np.kron(depth, np.diag(np.square(_ASIDE))) + moves.T @ moves
    covariance += np.diag(np.square(_POINT / np.where(trust > 0, trust, 1.0)))
    flat, anchors = weights.reshape(len(weights), -1).copy(), np.flatnonzero(trust)
    own = covariance[np.ix_(anchors, anchors)]
    flat[:, anchors] -= np.linalg.solve(own, covariance[anchors] @ flat.T).T
    return flat.reshape(weights.shape)


class Frontal(NamedTuple):
    """Points as seen from the front of the head, by the depth that the fitted face has there."""

    offsets: FloatArray
    """(faces, points, 2) from the points of the mean face, in the axes of the head."""
    slope: FloatArray
    """(faces, points, 2, 2) how they change with pixels of the image."""
    aside: FloatArray
    """(faces, points, 2) how they change with depth: 0 for a face that looks into the camera."""


def frontal(points: FloatArray, size: tuple[int, int], fit: FaceFit) -> Frontal:
    """Turn points to the front.

    Args:
        points: (faces, points, 2) the points of `EXPRESSION_QUERY` in pixels.
        size: Width and height of the frame in pixels.
        fit: The heads in space.
    """
    model, focal = face_model(EXPRESSION_QUERY), fit.focal[:, None, None]
    depth = model.mean[:, 2] + fit.shape @ model.modes[..., 2]
    rays = np.concatenate([(points - (np.array(size) - 1) / 2) / focal, np.ones((*points.shape[:2], 1))], -1)
    rays = rays @ fit.rotation
    camera = -(fit.translation[:, None] @ fit.rotation)
    along = (depth - camera[..., 2]) / rays[..., 2]
    aside = rays[..., :2] / rays[..., 2:]
    axes = fit.rotation[:, None, :2].swapaxes(2, 3)  # of the image in those of the head
    slope = (along[..., None] / focal)[..., None] * (axes[:, :, :2] - aside[..., None] * axes[:, :, 2:])
    offsets = camera[..., :2] + along[..., None] * rays[..., :2] - model.mean[:, :2]
    return Frontal(offsets, slope, aside)
