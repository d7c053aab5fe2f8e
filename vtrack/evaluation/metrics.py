"""Metrics of landmarks: normalised mean error, failure rate, area under the curve, and calibration of sigma."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vtrack.data import Dataset
from vtrack.errors import DataError
from vtrack.types import BoolArray, FloatArray


def distances(predicted: FloatArray, true: FloatArray) -> FloatArray:
    """(faces, points) pixels between predicted and true points (faces, points, 2)."""
    return np.linalg.norm(np.asarray(predicted, np.float64) - true, axis=-1)


def failure_rate(errors: FloatArray, limit: float) -> float:
    """Share of faces whose error (faces,) is above the limit; a face that was not found (NaN) counts as one."""
    return float(1.0 - (errors <= limit).mean())


def area_under_curve(errors: FloatArray, limit: float) -> float:
    """Area under the cumulative error curve from 0 to the limit, 1 for a perfect model.

    The curve is a staircase with a step at each error, so its integral is the mean of what each face adds to it.
    """
    reach = np.where(np.isnan(errors), 0.0, 1.0 - errors / limit)
    return float(np.maximum(reach, 0.0).mean())


def cumulative(errors: FloatArray, limit: float, steps: int = 200) -> tuple[FloatArray, FloatArray]:
    """The cumulative error curve: errors (steps,) from 0 to the limit, and the share of faces at or below each."""
    at = np.linspace(0.0, limit, steps)
    ordered = np.sort(errors[~np.isnan(errors)])
    return at, np.searchsorted(ordered, at, side="right") / max(len(errors), 1)


def within(offsets: FloatArray, sigma: FloatArray, times: float = 1.0) -> float:
    """Share of coordinate errors (faces, points, 2) within so many sigma (faces, points)."""
    return float((np.abs(offsets) <= times * sigma[..., None]).mean())


def auroc(scores: FloatArray, positive: BoolArray) -> float:
    """Area under the ROC curve: probability that a positive has a larger score than a negative, ties counted half; NaN if
    either is missing."""
    ordered = np.sort(scores)
    ranks = (np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right") + 1) / 2
    count, others = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others)) if count and others else np.nan


def calibration_error(probabilities: FloatArray, true: BoolArray, bins: int = 10) -> float:
    """Mean difference between probabilities and how often they come true, in bins of equal width, weighted by their counts."""
    members = np.minimum((probabilities * bins).astype(int), bins - 1)
    offsets = np.bincount(members, probabilities - true, minlength=bins)
    return float(np.abs(offsets).sum() / len(probabilities))


def scales(data: Dataset, kind: str) -> FloatArray:
    """(faces,) the length in pixels that errors are divided by."""
    if kind not in SCALES:
        raise DataError(f"errors cannot be normalised by {kind!r}; choose from {', '.join(SCALES)}")
    lengths = SCALES[kind](data)
    if (lengths <= 0).any():
        raise DataError(f"{data.name}: {data.files[int((lengths <= 0).argmax())]}: the {kind} distance is zero")
    return lengths


def _inter_ocular(data: Dataset) -> FloatArray:
    """Between the outer eye corners."""
    if not data.layout.inter_ocular:
        raise DataError(f"{data.name}: the layout {data.layout.name} has no eye corners to normalise by")
    left, right = data.layout.inter_ocular
    return np.linalg.norm(data.points[:, left] - data.points[:, right], axis=-1)


def _inter_pupil(data: Dataset) -> FloatArray:
    """Between the pupils, or the middles of the eyes."""
    if not data.layout.inter_pupil:
        raise DataError(f"{data.name}: the layout {data.layout.name} has no pupils to normalise by")
    left, right = (data.points[:, list(eye)].mean(1) for eye in data.layout.inter_pupil)
    return np.linalg.norm(left - right, axis=-1)


def _sides(data: Dataset) -> FloatArray:
    """(faces, 2) width and height of the data set's own boxes, or else of the points' tight boxes."""
    return np.ptp(data.points, axis=1) if data.boxes is None else data.boxes[:, 2:]


def _diagonal(data: Dataset) -> FloatArray:
    """The face box's diagonal."""
    return np.linalg.norm(_sides(data), axis=-1)


def _box(data: Dataset) -> FloatArray:
    """The side of the square with the face box's area."""
    return np.sqrt(_sides(data).prod(-1))


SCALES: dict[str, Callable[[Dataset], FloatArray]] = {
    "inter_ocular": _inter_ocular,
    "inter_pupil": _inter_pupil,
    "diagonal": _diagonal,
    "box": _box,
}


def usable_scales(data: Dataset) -> tuple[str, ...]:
    """The ways to normalise that a layout's points allow; the usual one of the data set first."""
    kinds = [
        *(["inter_ocular"] if data.layout.inter_ocular else []),
        *(["inter_pupil"] if data.layout.inter_pupil else []),
        "diagonal",
        "box",
    ]
    # AFLW has profiles, where the distance of the eyes vanishes; its errors are normalised by the box.
    return tuple(sorted(kinds, key=lambda kind: kind != "diagonal")) if data.layout.name == "aflw" else tuple(kinds)
