"""Measures expressions on a rig of our own: persons whose faces move by known amounts before a camera.

    python -m vtrack.training.studies.expressions             # no data needed
    python -m vtrack.training.studies.expressions data        # also the faces at rest of `pipelines/measures/expressions`

The persons are drawn from the modes of faces in space that heads are fitted with, and what these leave. The rig moves their
points by displacements that were chosen by hand, several shapes at a time, while the head turns. Points get the errors of a
landmark model: most of each stays the same for a person, the rest changes over time. So this tells how well movements come
back out of inaccurate points of turned heads, not whether a smile of the rig is one of people.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vtrack.data.sources import load_dataset
from vtrack.errors import errors_in_one_line
from vtrack.layouts import load_layout
from vtrack.measures import EXPRESSIONS, SHAPES
from vtrack.pipelines.measures.expressions.finder import ExpressionFinder
from vtrack.pipelines.measures.expressions.movements import FEATURES, GAP, frontal, matrices
from vtrack.pipelines.measures.face_fit import face_model, rotations
from vtrack.pipelines.measures.head_pose import HeadPoses, angles, fit_heads
from vtrack.pipelines.measures.points import EXPRESSION_QUERY, MEASURE_QUERY
from vtrack.training.studies.turns import ANNOTATED_SIGMA
from vtrack.types import FloatArray, Query

log = logging.getLogger(__name__)

PERSONS, REST, MOVING, RATE = 5, 100, 100, 25.0
"""Persons for each shape, and frames at rest and then in motion, at so many a second."""
TURN = 25.0
"""Largest turn of the head to either side in degrees."""
SIZE = (640, 480)
"""Width and height of the frame; the focal length is its width."""
_NOD = 8.0
"""Largest nod in degrees."""
_SIGMA = 0.015
"""Standard deviation of a point in units, that of `fast` in clips."""
_SHARE, _LASTING = 0.5, 0.3
"""Share of it that changes over time, as on the sample clip, and seconds for which such an error lasts."""
_OTHERS = 2
"""Other shapes that are seen at once, at the mean."""
_DISTANCE = 11.0
_UNIT = SIZE[0] / _DISTANCE
"""Pixels of a unit."""

Displacement = tuple[float, float, float]
# Numbers of points as the layout 300w has them, on the left of the image: the right of the person. x to the right of the image,
# y down, z away from the camera.
_ONE_SIDED: Mapping[str, Mapping[tuple[int, ...], Displacement]] = {
    "eyeBlink": {(38, 39): (0, 0.052, 0), (41, 42): (0, -0.023, 0)},
    "eyeWide": {(38, 39): (0, -0.042, 0), (41, 42): (0, 0.011, 0)},
    "browDown": {(21, 22): (0.012, 0.07, 0.01), (20,): (0, 0.045, 0.005), (18, 19): (0, 0.015, 0)},
    "browOuterUp": {(18, 19, 20): (0, -0.10, 0.015), (21,): (0, -0.03, 0)},
    "mouthSmile": {
        (49, 61): (-0.06, -0.09, 0.03), (50, 60): (-0.03, -0.04, 0.015), (51, 62): (-0.01, -0.02, 0), (32,): (-0.01, 0, 0),
    },
    "mouthFrown": {(49, 61): (0.01, 0.05, 0), (60,): (0, 0.03, 0)},
    "mouthStretch": {(49, 61): (-0.08, 0, 0.03), (50, 60): (-0.04, 0, 0.015)},
    "mouthUpperUp": {(51, 62): (0, -0.07, 0), (50, 52, 63): (0, -0.03, 0)},
}  # fmt: skip
_CENTRAL: Mapping[str, Mapping[tuple[int, ...], Displacement]] = {
    "browInnerUp": {(21, 22, 23, 24): (0, -0.10, 0.015), (20, 25): (0, -0.03, 0)},
    "jawOpen": {
        (66, 67, 68, 57, 58, 59): (0, 0.30, 0.05), (56, 60): (0, 0.2, 0.04), (49, 55, 61, 65): (0, 0.06, 0.02),
        (8, 9, 10): (0, 0.20, 0.08), (7, 11): (0, 0.18, 0.07), (6, 12): (0, 0.1, 0.04),
    },
    "mouthFunnel": {
        (49, 61): (0.09, 0, -0.04), (55, 65): (-0.09, 0, -0.04), (51, 52, 53, 62, 63, 64): (0, -0.05, -0.05),
        (57, 58, 59, 66, 67, 68): (0, 0.05, -0.05),
    },
    "mouthPucker": {(49, 61): (0.09, 0, -0.04), (55, 65): (-0.09, 0, -0.04), (51, 52, 53, 62, 63, 64): (0, 0, -0.05)},
    "mouthLeft": {(*range(49, 69),): (0.08, 0, 0.01)},
    "mouthRight": {(*range(49, 69),): (-0.08, 0, 0.01)},
    "mouthRollUpper": {(51, 52, 53): (0, 0.04, 0.01)},
    "mouthRollLower": {(57, 58, 59): (0, -0.05, 0.01)},
}  # fmt: skip
_OPPOSITE = (("mouthSmile", "mouthFrown"), ("eyeBlink", "eyeWide"), ("browDown", "browOuterUp"))


_OPPOSITE_CENTRAL = (("browInnerUp", "browDown"), ("mouthFunnel", "mouthStretch"), ("mouthPucker", "mouthStretch"))


def rig() -> FloatArray:
    """(shapes, points, 3) displacements of the points of `EXPRESSION_QUERY` by each of `SHAPES` at its strongest."""
    mirror, moves = load_layout("300w").mirror, np.zeros((len(SHAPES), 68, 3))
    for name, some in {**{f"{name}Right": some for name, some in _ONE_SIDED.items()}, **_CENTRAL}.items():
        for numbers, displacement in some.items():
            moves[SHAPES.index(name), np.array(numbers) - 1] = displacement
    for name in _ONE_SIDED:
        moves[SHAPES.index(f"{name}Left")] = moves[SHAPES.index(f"{name}Right")][mirror] * (-1, 1, 1)
    return moves[:, _places()]


@dataclass(frozen=True, eq=False, slots=True)
class Study:
    """What the rig did, and what was found, (shapes, persons, frames) each; every shape in turn moves from 0 to 1 and back."""

    truth: FloatArray
    found: FloatArray
    deviation: FloatArray
    at_rest: FloatArray
    """Found while the faces were at rest, from the third second on."""


def persons(count: int, rng: np.random.Generator) -> FloatArray:
    """(count, points, 3) faces at rest, with lips that touch."""
    model = face_model(EXPRESSION_QUERY)
    own = rng.normal(size=(count, len(model.modes))) * np.sqrt(model.person)
    faces = model.mean + np.tensordot(own, model.modes, 1) + rng.normal(size=(count, *model.mean.shape)) * _LEFT
    lip = EXPRESSION_QUERY.indices("inner_lip")
    faces[:, [lip[7], lip[6], lip[5]], 1] = faces[:, lip[1:4], 1]
    return np.asarray(faces)


_LEFT = 0.014
"""Standard deviation of the coordinates of points that the modes leave, in units."""


def study(rng: np.random.Generator, *, noise: float = _SIGMA, count: int = PERSONS) -> Study:
    """Move persons and find their expressions."""
    moves, frames, shapes = rig(), REST + MOVING, len(SHAPES)
    faces = np.tile(persons(count, rng), (shapes, 1, 1))
    truth = np.zeros((frames, shapes, count, shapes))
    truth[REST:] = _courses(count, rng)
    yaw, nod = TURN * _waves(frames, len(faces), rng), _NOD * _waves(frames, len(faces), rng)
    yaw[:REST] *= 0.3  # people mostly look ahead when they are at rest
    constant, lasting, points = rng.normal(size=(*faces.shape[:2], 2)), rng.normal(size=(*faces.shape[:2], 2)), []
    keep = np.exp(-1 / RATE / _LASTING)
    for now, *turn in zip(truth.reshape(frames, len(faces), shapes), yaw, nod, strict=True):
        lasting = keep * lasting + np.sqrt(1 - keep**2) * rng.normal(size=lasting.shape)
        errors = np.sqrt(1 - _SHARE**2) * constant + _SHARE * lasting
        points.append(seen(faces + np.tensordot(now, moves, 1), *turn) + noise * _UNIT * errors)
    values = find(np.array(points), max(noise, 1e-3) * _UNIT).reshape(frames, shapes, count, -1)
    moved, found, deviation = (
        np.stack([array[:, i, :, first + i].T for i in range(shapes)])
        for array, first in ((truth, 0), (values, 0), (values, len(EXPRESSIONS)))
    )
    return Study(moved[..., REST:], found[..., REST:], deviation[..., REST:], found[..., int(2 * RATE) : REST])


def find(points: FloatArray, sigma: float) -> FloatArray:
    """(frames, faces, 78) expressions of faces whose points (frames, faces, points, 2) are those of `EXPRESSION_QUERY`."""
    heads, finder, rows = HeadPoses(), ExpressionFinder(), []
    count, deviations = len(MEASURE_QUERY), np.full(points.shape[1:3], sigma)
    ids = list(range(points.shape[1]))
    for i, places in enumerate(points):
        fit, _ = heads.update(places[:, :count], deviations[:, :count], SIZE, ids, i / RATE)
        rows.append([each.array for each in finder.update(places, deviations, SIZE, fit, ids, i / RATE)])
    return np.array(rows)


def turned_changes(rng: np.random.Generator, count: int = 5) -> FloatArray:
    """(shapes,) mean change of each shape at 0.7 by a turn of the head from 0 to `TURN` degrees to either side."""
    moves, rest = rig(), persons(count, rng)
    faces = (rest + 0.7 * moves[:, None]).reshape(-1, *rest.shape[1:])
    none, still = np.zeros(len(faces)), np.tile(rest, (len(moves), 1, 1))
    frames = [seen(still, none, none)] * 40 + [seen(faces, none + yaw, none) for yaw in (0.0, -TURN, TURN)]
    values = find(np.array(frames), _SIGMA * _UNIT)[-3:].reshape(3, len(moves), count, -1)
    ahead, *aside = np.stack([values[:, i, :, i] for i in range(len(moves))], 1)
    return np.asarray(np.abs(np.array(aside) - ahead).mean((0, 2)))


def at_rest(data: Path) -> FloatArray:
    """(faces, features) of photographs that look ahead with a shut mouth."""
    faces = load_dataset(f"w68:{data / 'w68.zip'}", "train")
    points = faces.points.astype(np.float64)[:, _places()]
    sigma = np.repeat(ANNOTATED_SIGMA * faces.layout.unit(faces.points)[:, None], points.shape[1], 1)
    size, count = (576, 576), len(MEASURE_QUERY)
    fit, _ = fit_heads(points[:, :count], sigma[:, :count], size, None, 16.0)
    features = np.tensordot(frontal(points, size, fit).offsets, matrices().features, ((1, 2), (1, 2)))
    yaw, pitch, _ = angles(fit.rotation).T
    return np.asarray(features[(abs(yaw) < 20) & (abs(pitch) < 25) & (features[:, GAP] < -0.05)])


def seen(faces: FloatArray, yaw: FloatArray, nod: FloatArray) -> FloatArray:
    """(faces, points, 2) pixels of faces (faces, points, 3) that are turned by degrees."""
    none = np.zeros_like(yaw)
    about_y, about_x = (rotations(np.radians(np.stack(turn, 1))) for turn in ((none, -yaw, none), (nod, none, none)))
    space = faces @ (about_y @ about_x).transpose(0, 2, 1) + (0, 0, _DISTANCE)
    return np.asarray(space[..., :2] / space[..., 2:] * SIZE[0] + (np.array(SIZE) - 1) / 2)


def _places(query: Query = EXPRESSION_QUERY) -> list[int]:
    """Index in the layout `300w` of each point of a query."""
    layout = load_layout("300w").query
    places = {(part, round(at, 6)): i for i, (part, at) in enumerate(zip(layout.parts, layout.positions, strict=True))}
    return [places[part, round(at, 6)] for part, at in zip(query.parts, query.positions, strict=True)]


def _waves(frames: int, count: int, rng: np.random.Generator) -> FloatArray:
    """(frames, count) -1 to 1, slow swings."""
    turns = np.arange(frames)[:, None] / RATE / rng.uniform(3, 6, count)
    return np.asarray(np.sin(2 * np.pi * (turns + rng.uniform(size=count))))


def _courses(count: int, rng: np.random.Generator) -> FloatArray:
    """(frames, shapes, persons, shapes) what moves while each shape is watched: it and, each second, some others."""
    seconds, shapes = int(MOVING / RATE), len(SHAPES)
    others = rng.random((seconds, shapes, count, shapes)) < _OTHERS / shapes
    for i, shape in enumerate(SHAPES):
        others[:, i][..., [SHAPES.index(other) for other in _opposites(shape)]] = False
    own = np.eye(shapes, dtype=bool)[:, None]
    strength = np.where(own, 1.0, others * rng.uniform(0.3, 1.0, others.shape))
    bump = np.sin(np.pi * np.arange(RATE) / RATE) ** 2
    return np.asarray((strength[:, None] * bump[:, None, None, None]).reshape(-1, *strength.shape[1:]))


def _opposites(shape: str) -> list[str]:
    """Shapes that no face makes together with one."""
    sided = [(f"{a}{side}", f"{b}{side}") for side in ("Left", "Right") for a, b in _OPPOSITE]
    central = [(a, f"{b}{side}") for side in ("Left", "Right") for a, b in _OPPOSITE_CENTRAL]
    pairs = [("mouthLeft", "mouthRight"), ("mouthFunnel", "mouthPucker"), *sided, *central]
    return [other for pair in pairs if shape in pair for other in pair if other != shape]


def main() -> None:
    """Print the table of the rig and, with data, of faces at rest."""
    parser = argparse.ArgumentParser(description="Measure how well expressions of a rig are found.")
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA", help="folder of the zips")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.data is not None:
        log.info("| feature | median at rest | spread |\n|---|---|---|")
        quarters = np.percentile(at_rest(args.data), (25, 50, 75), axis=0)
        for name, (low, middle, high) in zip(FEATURES, quarters.T, strict=True):
            log.info("| %s | %.3f | %.3f |", name, middle, (high - low) / 1.35)
    rng = np.random.default_rng(0)
    result, changes = study(rng), turned_changes(rng)
    log.info(
        "| shape | r | at rest | change by a turn of %g° | within one standard deviation |\n|---|---|---|---|---|", TURN
    )
    for i, name in enumerate(SHAPES):
        truth, value, sd = (array[i].ravel() for array in (result.truth, result.found, result.deviation))
        moving = (truth > 0.05) & (truth < 0.95)
        within = 100 * (np.abs(value - truth) < sd)[moving].mean()
        r, rest = np.corrcoef(truth, value)[0, 1], result.at_rest[i].mean()
        log.info("| `%s` | %.2f | %.3f | %.3f | %.0f %% |", name, r, rest, changes[i], within)


if __name__ == "__main__":
    with errors_in_one_line():
        main()
