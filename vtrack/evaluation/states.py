"""How a landmark model does where faces move: eyes shut, winks, mouths, turned heads, points behind something.

Figures are on validation photographs with boxes from the truth. Errors and gaps are in % of the distance between the outer
eye corners, unless something else is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.data import Dataset, load_dataset
from vtrack.data.lids import eye_points
from vtrack.data.states import StateFaces, read_states
from vtrack.evaluation import metrics
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout
from vtrack.types import FloatArray, ImageArray, LandmarkModel

LAYOUT = load_layout("300w")
ANGLES = (0.0, 15.0, 30.0, 45.0, 90.0)
"""Edges of the classes of turned heads, in degrees."""
Yaw = Callable[[FloatArray], FloatArray]
"""(faces,) degrees that heads with these 68 points (faces, 68, 2) are turned by."""

_EYES = {side: eye_points(LAYOUT, side) for side in ("left", "right")}
_LIP = LAYOUT.query.indices("inner_lip")
_CLOSED_MOUTH = 0.01
"""Gap between the lips, of the eyes' distance, up to which a person marked a mouth as closed."""
_NEVER_SEEN = 0.5
"""Presence below which there is no answer to measure."""
_COVER = (0.32, 0.22)
"""Axes of what is laid over a face, of its box's longer side."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    count: int
    """Of how many faces, or points, it is the mean."""
    meaning: str


@dataclass(frozen=True, eq=False, slots=True)
class _Answers:
    """What a model said of some faces in the layout 300w; NaN where it saw none."""

    points: FloatArray
    sigma: FloatArray

    @property
    def openings(self) -> FloatArray:
        """(faces, 2) height over width of the left and of the right eye."""
        return np.stack([_aspect(self.points[:, places]) for places in _EYES.values()], 1)

    @property
    def gaps(self) -> FloatArray:
        """(faces,) between the inner lips, of the distance between the outer eye corners."""
        return lip_gaps(self.points)


def measure(model: LandmarkModel, folder: Path, yaw: Yaw) -> list[Figure]:
    """The figures of a model on the photographs of a folder of zips."""
    shut, moved = (read_states(folder / f"{name}.zip", "val") for name in ("shut478", "yawn478"))
    people, video = (load_dataset(f"{name}:{folder / name}.zip", "val") for name in ("w68", "ytf68"))
    return [
        *_eyes(model, shut),
        *_winks(model, moved),
        *_mouths(model, shut, people),
        *_turned(model, {"w68": people, "ytf68": video}, yaw),
        *_covered(model, people),
    ]


def _aspect(eye: FloatArray) -> FloatArray:
    """(faces,) mean height over width of eyes (faces, 6, 2)."""
    heights = np.linalg.norm(eye[:, [1, 2]] - eye[:, [5, 4]], axis=-1).mean(1)
    return np.asarray(heights / np.linalg.norm(eye[:, 3] - eye[:, 0], axis=-1))


def lip_gaps(points: FloatArray) -> FloatArray:
    """(faces,) mean distance between facing points of the inner lips of 68 points, of that between the outer eye corners."""
    lip = points[:, sorted(_LIP, key=lambda i: LAYOUT.query.positions[i])]
    return np.linalg.norm(lip[:, [5, 6, 7]] - lip[:, [3, 2, 1]], axis=-1).mean(1) / LAYOUT.unit(points)


def answers(
    model: LandmarkModel, data: Dataset, change: Callable[[ImageArray, int], ImageArray] | None = None
) -> _Answers:
    """The 68 points of every face by its true box; `change` alters photographs before they are cut."""
    boxes = data.layout.face_box(data.points)
    crops = Crops.around(boxes, model.margin)
    points, sigma = np.full((len(data), len(LAYOUT), 2), np.nan), np.full((len(data), len(LAYOUT)), np.nan)
    for i in range(len(data)):
        image = data.image(i)
        cut = warp([image if change is None else change(image, i)], [0], crops[i : i + 1], model.input_size)
        told = model.predict(cut, LAYOUT.query)
        if told.presence[0] >= _NEVER_SEEN:
            points[i] = crops[i : i + 1].to_frame(told.points)[0]
            sigma[i] = told.sigma[0] * crops.sides[i]
    return _Answers(points, sigma)


def _eyes(model: LandmarkModel, faces: StateFaces) -> list[Figure]:
    """How far eyes stay open that are shut, over those that are open."""
    openings = answers(model, faces.data).openings.mean(1)
    people = faces.of_group("cew:")
    usual = _mean(openings[faces.has("open")])
    shares = {
        "shut_eyes": (people, "opening left of eyes that people judged to be shut, of open eyes'"),
        "narrow_eyes": (faces.has("closed") & ~people, "the same of eyes that the mesh has nearly shut (squints too)"),
        "half_open_eyes": (faces.has("half"), "the same of eyes that it has half open"),
    }
    figures = [_figure(name, openings[which] / usual, meaning) for name, (which, meaning) in shares.items()]
    slits = np.where(np.isnan(openings), np.nan, openings > 0.3 * usual)[people]
    return [
        *figures,
        _figure("slits", slits * 100, "shut eyes left open by more than 0.3 of open eyes', in % of faces"),
    ]


def _winks(model: LandmarkModel, faces: StateFaces) -> list[Figure]:
    winks = faces[faces.has("wink")]
    openings = answers(model, winks.data).openings
    apart = np.abs(openings[:, 0] - openings[:, 1]) / openings.max(1)
    return [_figure("winks", apart, "difference of the eyes in a wink, over the open one")]


def _mouths(model: LandmarkModel, faces: StateFaces, people: Dataset) -> list[Figure]:
    closed = people[lip_gaps(people.points) < _CLOSED_MOUTH]
    opened = faces[faces.has("mouth")]
    mesh, layout = opened.data.points, opened.data.layout
    lip = mesh[:, eye_points(layout, "mesh", "inner_lip")]
    middle = lip.shape[1] // 2
    true = np.linalg.norm(lip[:, middle // 2] - lip[:, middle + middle // 2], axis=-1)
    told = answers(model, opened.data).points
    wide = np.linalg.norm(told[:, _at(0.25)] - told[:, _at(0.75)], axis=-1)
    return [
        _figure("closed_mouth", answers(model, closed).gaps * 100, "gap left where people marked a closed mouth"),
        _figure("open_mouth", wide / true, "middle gap of wide mouths, of the mesh's (1 is alike)"),
    ]


def _at(position: float) -> int:
    """The point of the inner lip at a position."""
    return next(i for i in _LIP if abs(LAYOUT.query.positions[i] - position) < 1e-6)


def _turned(model: LandmarkModel, sets: Mapping[str, Dataset], yaw: Yaw) -> list[Figure]:
    """Errors by how far heads are turned, in % of the box's side: in a profile the eyes' distance vanishes."""
    figures = []
    for name, data in sets.items():
        turns = np.abs(yaw(data.points))
        errors = metrics.distances(answers(model, data).points, data.points).mean(1) / metrics.scales(data, "box") * 100
        for low, high in itertools.pairwise(ANGLES):
            which = (turns >= low) & (turns < high)
            if which.any():
                figures.append(
                    _figure(f"{name}_yaw_{low:g}_{high:g}", errors[which], f"error of {name}, % of the box's side")
                )
    return figures


def _covered(model: LandmarkModel, data: Dataset) -> list[Figure]:
    """What becomes of points that something is laid over, and whether sigma tells."""
    covers = [_Cover.draw(data, i) for i in range(len(data))]
    told = answers(model, data, lambda image, i: covers[i].over(image))
    hidden = np.stack([cover.hides(points) for cover, points in zip(covers, data.points, strict=True)])
    unit = LAYOUT.unit(data.points)[:, None]
    errors, sigma = metrics.distances(told.points, data.points) / unit * 100, told.sigma / unit * 100
    within = np.abs(told.points - data.points) <= told.sigma[..., None]
    return [
        _figure("covered_points", errors[hidden], "error of points behind a cover"),
        _figure("seen_points", errors[~hidden], "error of the others of these faces"),
        _figure("covered_sigma", sigma[hidden], "sigma of the covered points"),
        _figure("seen_sigma", sigma[~hidden], "sigma of the others"),
        _figure(
            "covered_within",
            within[hidden].mean(1) * 100,
            "coordinates of covered points within sigma, in %; 68 is right",
        ),
    ]


@dataclass(frozen=True, slots=True)
class _Cover:
    """An ellipse of one colour over an eye, the mouth or the jaw, as a hand or a cup would hide it."""

    center: tuple[float, float]
    axes: tuple[float, float]
    angle: float
    colour: tuple[int, int, int]

    @classmethod
    def draw(cls, data: Dataset, place: int) -> _Cover:
        """The cover of one face: always the same."""
        rng = np.random.default_rng((7, place))
        points = data.points[place]
        side = float(np.ptp(points, axis=0).max())
        x, y = points[int(rng.integers(len(points)))]
        shade = rng.integers(30, 225, 3)
        return cls(
            (float(x), float(y)),
            (_COVER[0] * side / 2, _COVER[1] * side / 2),
            float(rng.uniform(0, 180)),
            (int(shade[0]), int(shade[1]), int(shade[2])),
        )

    def over(self, image: ImageArray) -> ImageArray:
        """The photograph with the cover on it."""
        covered = image.copy()
        cv2.ellipse(covered, (self.center, (2 * self.axes[0], 2 * self.axes[1]), self.angle), self.colour, -1)
        return covered

    def hides(self, points: FloatArray) -> npt.NDArray[np.bool_]:
        """(points,) which lie behind it."""
        turn = np.exp(-1j * np.radians(self.angle))
        local = ((points - self.center) @ np.array([1, 1j])) * turn
        inside: npt.NDArray[np.bool_] = (local.real / self.axes[0]) ** 2 + (local.imag / self.axes[1]) ** 2 < 1
        return inside


def _figure(name: str, values: FloatArray, meaning: str) -> Figure:
    """The mean of what is known."""
    return Figure(name, round(_mean(values), 4), int(np.isfinite(values).sum()), meaning)


def _mean(values: FloatArray) -> float:
    """The mean of those that are known; NaN where none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
