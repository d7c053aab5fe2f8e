"""Evaluation of landmark models: predictions for a data set, and a summary of the errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.data import Dataset
from vtrack.errors import DataError
from vtrack.evaluation import metrics
from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.types import FloatArray, ImageArray, LandmarkModel

LIMITS = (0.08, 0.10)

Progress = Callable[[int], None]


@dataclass(frozen=True, eq=False, slots=True)
class LandmarkEvaluation:
    """A model's predictions for each face of a data set; NaN for faces without a box."""

    data: Dataset
    points: FloatArray
    """(faces, points, 2) in pixels of the photograph."""
    sigma: FloatArray
    """(faces, points) in pixels."""
    presence: FloatArray
    """(faces,) probability that this is a face."""
    outside: npt.NDArray[np.bool_] | None = None
    """(faces, points) bool: whether the true point lies outside the crop that the model saw; None if that is not known."""

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(faces,) bool: whether the face had a box."""
        return np.isfinite(self.presence)

    def errors(self, kind: str) -> FloatArray:
        """(faces, points) errors normalised by a key of `metrics.SCALES`."""
        return metrics.distances(self.points, self.data.points) / metrics.scales(self.data, kind)[:, None]


def evaluate(
    model: LandmarkModel,
    data: Dataset,
    boxes: FloatArray | None = None,
    *,
    batch: int = 64,
    progress: Progress | None = None,
) -> LandmarkEvaluation:
    """Predict the landmarks of every face of a data set.

    Args:
        model: The landmark model.
        data: The data set.
        boxes: (faces, 4) x, y, w, h, NaN for faces without; by default the true boxes.
        batch: Faces per call of the model.
        progress: Called with the number of faces after each batch.

    Raises:
        DataError: The boxes do not fit the data set, or a photograph cannot be decoded.

    Example:
        >>> from vtrack.data import load_dataset
        >>> from vtrack.models import load_model
        >>> evaluation = evaluate(load_model(), load_dataset("frl189:tests/data/london/labels.csv", "val"))
        >>> summary(evaluation)["nme"] < 5  # mean error in % of the eye distance
        True
    """
    boxes = data.layout.face_box(data.points) if boxes is None else np.asarray(boxes, np.float64)
    if boxes.shape != (len(data), 4):
        raise DataError(f"{data.name}: boxes of shape {boxes.shape} do not fit {len(data)} faces")
    query = data.layout.query
    points = np.full((len(data), len(query), 2), np.nan)
    sigma, presence = np.full(points.shape[:2], np.nan), np.full(len(data), np.nan)
    outside = np.zeros(points.shape[:2], bool)
    for places, images in _batches(data, np.flatnonzero(np.isfinite(boxes).all(1)), batch):
        crops = Crops.around(boxes[places], model.margin)
        cut = warp(images, range(len(images)), crops, model.input_size)
        prediction = model.predict(cut, query)
        points[places] = crops.to_frame(prediction.points)
        sigma[places] = prediction.sigma * crops.sides[:, None]
        presence[places] = prediction.presence
        truth = crops.to_crop(data.points[places])
        outside[places] = ((truth < 0) | (truth > 1)).any(-1)
        if progress:
            progress(len(places))
    return LandmarkEvaluation(data, points, sigma, presence, outside)


def _batches(
    data: Dataset, places: npt.NDArray[np.intp], batch: int
) -> Iterator[tuple[npt.NDArray[np.intp], list[ImageArray]]]:
    """Indices of faces and their photographs, a batch at a time, so that memory stays constant."""
    for start in range(0, len(places), batch):
        chosen = places[start : start + batch]
        yield chosen, [data.image(int(place)) for place in chosen]


def summary(evaluation: LandmarkEvaluation, kind: str | None = None) -> dict[str, Any]:
    """Summarise an evaluation.

    Args:
        evaluation: Result of `evaluate`.
        kind: How errors are normalised, a key of `metrics.SCALES`; by default the data set's usual one.

    Returns:
        Plain numbers, errors in percent, ready for JSON.
    """
    data, found = evaluation.data, evaluation.found
    kinds = metrics.usable_scales(data)
    kind = kinds[0] if kind is None else kind
    errors = evaluation.errors(kind)
    faces = errors.mean(1)
    figures: dict[str, Any] = {
        "data": data.name,
        "layout": data.layout.name,
        "normalised_by": kind,
        **_figures(faces),
        "nme_by": {other: _percent(np.nanmean(evaluation.errors(other))) for other in kinds} if found.any() else {},
        "parts": {part: _percent(np.nanmean(errors[:, data.layout.query.indices(part)])) for part in _parts(data)}
        if found.any()
        else {},
        "subsets": {name: _figures(faces[member]) for name, member in data.subsets.items()},
    }
    if evaluation.outside is not None and evaluation.outside.any():
        outside = evaluation.outside
        figures["outside"] = {
            "points_percent": _percent(outside[found].mean()),
            "nme": _percent(errors[outside].mean()),
        }
    if found.any():
        offsets = (evaluation.points - data.points)[found]
        figures["sigma"] = {
            "within_1_percent": _percent(metrics.within(offsets, evaluation.sigma[found])),
            "within_2_percent": _percent(metrics.within(offsets, evaluation.sigma[found], 2.0)),
            "mean_percent": _percent(
                np.mean(evaluation.sigma[found] / metrics.scales(data, kind)[found, None]),
            ),
            "rank_correlation": _rank_correlation(evaluation.sigma[found], np.linalg.norm(offsets, axis=-1)),
        }
        figures["presence_mean"] = round(float(evaluation.presence[found].mean()), 4)
    return figures


def _figures(faces: FloatArray) -> dict[str, Any]:
    """Mean, median, worst, failure rates and areas of the errors of faces (faces,)."""
    known = faces[~np.isnan(faces)]
    figures: dict[str, Any] = {"faces": len(faces), "missed": len(faces) - len(known)}
    if len(known):
        figures |= {"nme": _percent(known.mean()), "median": _percent(np.median(known)), "worst": _percent(known.max())}
    for limit in LIMITS:
        label = f"{limit * 100:g}"
        figures[f"failures_{label}"] = _percent(metrics.failure_rate(faces, limit))
        figures[f"auc_{label}"] = _percent(metrics.area_under_curve(faces, limit))
    return figures


def _parts(data: Dataset) -> list[str]:
    """The parts of a data set in the order of its points."""
    return list(dict.fromkeys(data.layout.query.parts))


def _rank_correlation(one: FloatArray, other: FloatArray) -> float:
    """Spearman's rank correlation of two arrays."""
    ranks = np.stack([np.argsort(np.argsort(values.ravel())) for values in (one, other)])
    return round(float(np.atleast_2d(np.corrcoef(ranks))[0, 1]), 3)


def _percent(value: float | np.floating) -> float:
    return round(float(value) * 100, 3)
