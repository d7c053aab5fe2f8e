"""Statistics of face shapes: Procrustes alignment, mean shape, and outliers by a shape model."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import trim_mean

from vtrack.data.dataset import Dataset
from vtrack.types import FloatArray

_ROUNDS = 6
# Share of the variance that the shape model keeps; the rest is noise, and a large rest means wrong labels.
_KEPT = 0.97
_EDGE = 6.0
_ENOUGH = 50


def mean_shape(points: FloatArray) -> FloatArray:
    """(points, 2) trimmed mean of shapes (faces, points, 2) after aligning them to it: centred, of unit size, upright."""
    shapes = _complex(points)
    mean = _middle(_unit(shapes))
    for _ in range(_ROUNDS):
        mean = _unit(_middle(_onto(shapes, mean)))
    return np.stack([mean.real, mean.imag], -1)


def _middle(shapes: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """(points,) mean of shapes (faces, points) without the outer tenth on each side: few wrong labels do not move it."""
    middle = trim_mean(shapes.real, 0.1) + 1j * trim_mean(shapes.imag, 0.1)
    return np.asarray(middle, np.complex128)


def aligned(points: FloatArray, target: FloatArray) -> FloatArray:
    """Shapes (faces, points, 2) turned, scaled and shifted onto a target (points, 2), in the sense of least squares."""
    moved = _onto(_complex(points), _complex(target[None])[0])
    moved = moved + _complex(target[None])[0].mean()
    return np.stack([moved.real, moved.imag], -1)


def deviations(points: FloatArray) -> FloatArray:
    """(faces,) distance of each face's three worst points from the shape model, relative to the face's size.

    Each half of the faces is compared with a model learned from the other half, so that wrong labels do not fit themselves.
    """
    flat = aligned(points, mean_shape(points)).reshape(len(points), -1)
    halves = np.arange(len(flat)) % 2 == 0
    keep = np.ones(len(flat), np.bool_)
    worst = np.zeros(len(flat))
    for _ in range(_ROUNDS):
        for judged in (halves, ~halves):
            residuals = _unexplained(flat[judged], flat[~judged & keep]).reshape(judged.sum(), -1, 2)
            worst[judged] = np.sqrt(np.sort((residuals**2).sum(-1), 1)[:, -3:].mean(1))
        fresh = worst < _limit(worst)
        if (fresh == keep).all():
            break
        keep = fresh
    return worst


def _unexplained(flat: FloatArray, known: FloatArray) -> FloatArray:
    """Residuals of shapes (faces, numbers) after projection on the principal components of known shapes."""
    center = np.median(known, 0)
    _, strengths, axes = np.linalg.svd(known - center, full_matrices=False)
    share = np.cumsum(strengths**2) / (strengths**2).sum()
    axes = axes[: int(np.searchsorted(share, _KEPT)) + 1]
    offsets = flat - center
    return np.asarray(offsets - offsets @ axes.T @ axes)


def outliers(dataset: Dataset) -> npt.NDArray[np.bool_]:
    """(faces,) bool: labels so far from the shape model that they are wrong rather than rare.

    In the training parts these are 38 of `scut86` and 32 of `fgnet68` (a point astray, two exchanged), 5 of `w68`,
    3 of `frl189`, 2 of `helen29`, 1 of `ytf68`, none of `imm73`. Data sets of fewer than 50 faces have none, since no model
    can be learned from them.
    """
    if len(dataset) < _ENOUGH:
        return np.zeros(len(dataset), np.bool_)
    worst = deviations(dataset.points)
    return worst > _limit(worst)


def _limit(values: FloatArray) -> float:
    """The median plus several robust standard deviations."""
    median = np.median(values)
    return float(median + _EDGE * 1.4826 * np.median(np.abs(values - median)))


def _complex(points: FloatArray) -> npt.NDArray[np.complex128]:
    """(faces, points) complex numbers: turning and scaling is then one product."""
    points = np.asarray(points, np.float64)
    return points[..., 0] + 1j * points[..., 1]


def _unit(shapes: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """Shapes centred and of unit size."""
    centered = shapes - shapes.mean(-1, keepdims=True)
    return centered / np.sqrt((np.abs(centered) ** 2).mean(-1, keepdims=True))


def _onto(shapes: npt.NDArray[np.complex128], target: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """Shapes turned and scaled onto a centred target."""
    centered, goal = shapes - shapes.mean(-1, keepdims=True), target - target.mean()
    factor = (np.conj(centered) * goal).sum(-1) / (np.abs(centered) ** 2).sum(-1)
    return centered * factor[:, None]
