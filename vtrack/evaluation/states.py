"""Evaluates a landmark model on closed eyes, winks, open and closed mouths, turned heads, occluded points, and on whether it
tells which points are hidden.

Figures are measured on validation photographs with boxes from the annotation. Errors and gaps are in % of the distance between
the outer eye corners, unless stated otherwise.
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
from vtrack.data.occluders import UNTAUGHT_KINDS, cover
from vtrack.data.states import StateFaces, read_states
from vtrack.evaluation import metrics
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.layouts import load_layout
from vtrack.types import FloatArray, ImageArray, LandmarkModel

LAYOUT = load_layout("300w")
ANGLES = (0.0, 15.0, 30.0, 45.0, 90.0)
"""Limits of the classes of head yaw, in degrees."""
Yaw = Callable[[FloatArray], FloatArray]
"""A function from 68 points (faces, 68, 2) to head yaw (faces,) in degrees."""

_EYES = {side: eye_points(LAYOUT, side) for side in ("left", "right")}
_LIP = LAYOUT.query.indices("inner_lip")
_CLOSED_MOUTH = 0.01
"""Largest annotated gap between the lips of a closed mouth, in units of the distance between the outer eye corners."""
_MIN_PRESENCE = 0.5
"""Presence below which a prediction is left out."""
_OCCLUDER = (0.32, 0.22)
"""Axes of the ellipse that occludes a face, in units of the longer side of its box."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: a mean."""

    name: str
    value: float
    count: int
    """Number of faces, or points, in the mean."""
    meaning: str


@dataclass(frozen=True, eq=False, slots=True)
class StatePredictions:
    """A model's predictions for faces in the layout `300w`; NaN where its presence is low."""

    points: FloatArray
    """(faces, 68, 2) in pixels."""
    sigma: FloatArray
    """(faces, 68) in pixels."""

    @property
    def openings(self) -> FloatArray:
        """(faces, 2) height over width of the left and of the right eye."""
        return np.stack([_aspect(self.points[:, places]) for places in _EYES.values()], 1)

    @property
    def gaps(self) -> FloatArray:
        """(faces,) gap between the inner lips, in units of the distance between the outer eye corners."""
        return lip_gaps(self.points)


def measure(model: LandmarkModel, folder: Path, yaw: Yaw) -> list[Figure]:
    """Evaluate a model.

    Args:
        model: The landmark model.
        folder: Folder of the photograph zips.
        yaw: Computes the head yaw.

    Returns:
        The figures, in the order of the table.

    Raises:
        DataError: A zip is missing or cannot be read.
    """
    shut, moved = (read_states(folder / f"{name}.zip", "val") for name in ("shut478", "yawn478"))
    people, video = (load_dataset(f"{name}:{folder / name}.zip", "val") for name in ("w68", "ytf68"))
    return [
        *_eyes(model, shut),
        *_winks(model, moved),
        *_mouths(model, shut, people),
        *_turned(model, {"w68": people, "ytf68": video}, yaw),
        *_occluded(model, people),
        *_hidden_by_drawings(model, people),
        *_hidden_by_masks(model, folder / "mask478.zip"),
    ]


def _aspect(eye: FloatArray) -> FloatArray:
    """(faces,) mean height over width of eyes (faces, 6, 2)."""
    heights = np.linalg.norm(eye[:, [1, 2]] - eye[:, [5, 4]], axis=-1).mean(1)
    return np.asarray(heights / np.linalg.norm(eye[:, 3] - eye[:, 0], axis=-1))


def lip_gaps(points: FloatArray) -> FloatArray:
    """(faces,) mean distance between opposite points of the inner lips, in units of the distance of the outer eye corners.

    Args:
        points: (faces, 68, 2).
    """
    lip = points[:, sorted(_LIP, key=lambda i: LAYOUT.query.positions[i])]
    return np.linalg.norm(lip[:, [5, 6, 7]] - lip[:, [3, 2, 1]], axis=-1).mean(1) / LAYOUT.unit(points)


def predictions(
    model: LandmarkModel, data: Dataset, change: Callable[[ImageArray, int], ImageArray] | None = None
) -> StatePredictions:
    """Predict the 68 points of every face of a data set, with boxes from the annotation.

    Args:
        model: The landmark model.
        data: The faces.
        change: Changes a photograph, given with its index, before it is cropped.
    """
    boxes = data.layout.face_box(data.points)
    crops = Crops.around(boxes, model.margin)
    points, sigma = np.full((len(data), len(LAYOUT), 2), np.nan), np.full((len(data), len(LAYOUT)), np.nan)
    for i in range(len(data)):
        image = data.image(i)
        cut = warp([image if change is None else change(image, i)], [0], crops[i : i + 1], model.input_size)
        prediction = model.predict(cut, LAYOUT.query)
        if prediction.presence[0] >= _MIN_PRESENCE:
            points[i] = crops[i : i + 1].to_frame(prediction.points)[0]
            sigma[i] = prediction.sigma[0] * crops.sides[i]
    return StatePredictions(points, sigma)


def _eyes(model: LandmarkModel, faces: StateFaces) -> list[Figure]:
    """Openings of closed and half closed eyes, relative to open ones."""
    openings = predictions(model, faces.data).openings.mean(1)
    judged = faces.of_group("cew:")
    usual = _mean(openings[faces.has("open")])
    classes = {
        "shut_eyes": (judged, "opening of eyes that people judged closed, relative to open eyes"),
        "narrow_eyes": (
            faces.has("closed") & ~judged,
            "the same, eyes that are nearly closed in the mesh (also squints)",
        ),
        "half_open_eyes": (faces.has("half"), "the same, eyes that are half open in the mesh"),
    }
    figures = [_figure(name, openings[members] / usual, meaning) for name, (members, meaning) in classes.items()]
    slits = np.where(np.isnan(openings), np.nan, openings > 0.3 * usual)[judged]
    return [
        *figures,
        _figure("slits", slits * 100, "closed eyes predicted more than 0.3 of open ones open, in % of faces"),
    ]


def _winks(model: LandmarkModel, faces: StateFaces) -> list[Figure]:
    """Difference of the openings of both eyes in winks."""
    winks = faces[faces.has("wink")]
    openings = predictions(model, winks.data).openings
    difference = np.abs(openings[:, 0] - openings[:, 1]) / openings.max(1)
    return [_figure("winks", difference, "difference of the openings of both eyes in a wink, relative to the open eye")]


def _mouths(model: LandmarkModel, faces: StateFaces, people: Dataset) -> list[Figure]:
    """Gaps of closed mouths, and those of open mouths relative to the mesh."""
    closed = people[lip_gaps(people.points) < _CLOSED_MOUTH]
    opened = faces[faces.has("mouth")]
    mesh, layout = opened.data.points, opened.data.layout
    lip = mesh[:, eye_points(layout, "mesh", "inner_lip")]
    middle = lip.shape[1] // 2
    true = np.linalg.norm(lip[:, middle // 2] - lip[:, middle + middle // 2], axis=-1)
    points = predictions(model, opened.data).points
    wide = np.linalg.norm(points[:, _lip_point(0.25)] - points[:, _lip_point(0.75)], axis=-1)
    return [
        _figure("closed_mouth", predictions(model, closed).gaps * 100, "gap of mouths that people marked closed"),
        _figure("open_mouth", wide / true, "middle gap of open mouths, relative to the mesh (1: equal)"),
    ]


def _lip_point(position: float) -> int:
    """Index of the point of the inner lip at a position."""
    return next(i for i in _LIP if abs(LAYOUT.query.positions[i] - position) < 1e-6)


def _turned(model: LandmarkModel, sets: Mapping[str, Dataset], yaw: Yaw) -> list[Figure]:
    """Errors by head yaw, in % of the side of the box: in a profile the distance between the eyes vanishes."""
    figures = []
    for name, data in sets.items():
        angles = np.abs(yaw(data.points))
        distances = metrics.distances(predictions(model, data).points, data.points)
        errors = distances.mean(1) / metrics.scales(data, "box") * 100
        for low, high in itertools.pairwise(ANGLES):
            members = (angles >= low) & (angles < high)
            if members.any():
                meaning = f"error on {name}, in % of the side of the box"
                figures.append(_figure(f"{name}_yaw_{low:g}_{high:g}", errors[members], meaning))
    return figures


def _occluded(model: LandmarkModel, data: Dataset) -> list[Figure]:
    """Errors and sigma of points behind an occluder, and of the other points of the same faces."""
    occluders = [_Occluder.draw(data, i) for i in range(len(data))]
    predicted = predictions(model, data, lambda image, i: occluders[i].over(image))
    hidden = np.stack([occluder.hides(points) for occluder, points in zip(occluders, data.points, strict=True)])
    unit = LAYOUT.unit(data.points)[:, None]
    errors, sigma = metrics.distances(predicted.points, data.points) / unit * 100, predicted.sigma / unit * 100
    within = np.abs(predicted.points - data.points) <= predicted.sigma[..., None]
    return [
        _figure("covered_points", errors[hidden], "error of occluded points"),
        _figure("seen_points", errors[~hidden], "error of the other points of these faces"),
        _figure("covered_sigma", sigma[hidden], "sigma of the occluded points"),
        _figure("seen_sigma", sigma[~hidden], "sigma of the other points"),
        _figure(
            "covered_within",
            within[hidden].mean(1) * 100,
            "coordinates of occluded points within sigma, in % (68 if calibrated)",
        ),
    ]


def _hidden_by_drawings(model: LandmarkModel, data: Dataset) -> list[Figure]:
    """Whether points behind things of kinds that no training draws are told from the others."""
    crops = Crops.around(data.layout.face_box(data.points), model.margin)
    cuts = [warp([data.image(i)], [0], crops[i : i + 1], model.input_size)[0] for i in range(len(data))]
    points = crops.to_crop(data.points)
    figures, told, true = [], [], []
    for kind in UNTAUGHT_KINDS:
        rng = np.random.default_rng(7)
        covered = [
            cover(cut.transpose(1, 2, 0), points[i], LAYOUT, [kind], data.image(int(rng.integers(len(data)))), rng)
            for i, cut in enumerate(cuts)
        ]
        hidden = model.predict(np.stack([image.transpose(2, 0, 1) for image, _ in covered]), LAYOUT.query).hidden
        if hidden is None:
            return []
        told.append(hidden.ravel())
        true.append(np.concatenate([behind for _, behind in covered]))
        figures += _told_hidden(kind, told[-1], true[-1], f"behind a drawn {kind}")
    return figures + _told_hidden("drawn", np.concatenate(told), np.concatenate(true), "behind any of these")


def _hidden_by_masks(model: LandmarkModel, path: Path) -> list[Figure]:
    """Whether the mouth and the base of the nose behind masks are told from eyes and brows, in photographs."""
    if not path.exists():
        return []
    told = []
    for faces in (read_states(path, split).data for split in ("train", "val")):
        crops = Crops.around(faces.layout.face_box(faces.points), model.margin)
        cuts = [warp([faces.image(i)], [0], crops[i : i + 1], model.input_size)[0] for i in range(len(faces))]
        hidden = model.predict(np.stack(cuts), LAYOUT.query).hidden
        if hidden is None:
            return []
        told.append(hidden)
    probabilities = np.concatenate(told)
    behind = [i for part in ("lips", "nose_base") for i in LAYOUT.query.indices(part)]
    others = [i for part in ("eyes", "brows") for i in LAYOUT.query.indices(part)]
    scores = np.concatenate([probabilities[:, behind].ravel(), probabilities[:, others].ravel()])
    true = np.arange(len(scores)) < len(probabilities) * len(behind)
    return _told_hidden("masks", scores, true, "behind masks in photographs")


def _told_hidden(name: str, told: FloatArray, true: npt.NDArray[np.bool_], what: str) -> list[Figure]:
    """How well hidden points are told from others, and how far probabilities are off."""
    area, off = metrics.auroc(told, true), metrics.calibration_error(told, true)
    return [
        Figure(f"hidden_{name}", round(area, 4), len(told), f"area under the ROC curve of points {what}"),
        Figure(f"hidden_{name}_off", round(off, 4), len(told), "the same: calibration error of the probability"),
    ]


@dataclass(frozen=True, slots=True)
class _Occluder:
    """An ellipse of one colour, centred on a random landmark."""

    center: tuple[float, float]
    axes: tuple[float, float]
    angle: float
    colour: tuple[int, int, int]

    @classmethod
    def draw(cls, data: Dataset, index: int) -> _Occluder:
        """The occluder of one face of a data set; the same at every call."""
        rng = np.random.default_rng((7, index))
        points = data.points[index]
        side = float(np.ptp(points, axis=0).max())
        x, y = points[int(rng.integers(len(points)))]
        shade = rng.integers(30, 225, 3)
        return cls(
            (float(x), float(y)),
            (_OCCLUDER[0] * side / 2, _OCCLUDER[1] * side / 2),
            float(rng.uniform(0, 180)),
            (int(shade[0]), int(shade[1]), int(shade[2])),
        )

    def over(self, image: ImageArray) -> ImageArray:
        """A copy of the photograph with the occluder on it."""
        covered = image.copy()
        cv2.ellipse(covered, (self.center, (2 * self.axes[0], 2 * self.axes[1]), self.angle), self.colour, -1)
        return covered

    def hides(self, points: FloatArray) -> npt.NDArray[np.bool_]:
        """(points,) bool: which points lie behind it."""
        turn = np.exp(-1j * np.radians(self.angle))
        local = ((points - self.center) @ np.array([1, 1j])) * turn
        inside: npt.NDArray[np.bool_] = (local.real / self.axes[0]) ** 2 + (local.imag / self.axes[1]) ** 2 < 1
        return inside


def _figure(name: str, values: FloatArray, meaning: str) -> Figure:
    """A figure: the mean of the finite values."""
    return Figure(name, round(_mean(values), 4), int(np.isfinite(values).sum()), meaning)


def _mean(values: FloatArray) -> float:
    """The mean of the finite values; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
