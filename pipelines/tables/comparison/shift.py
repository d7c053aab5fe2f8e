"""The shift in time between two tables: by how many frames the second lags behind the first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from vtrack.errors import UsageError, spelled
from vtrack.pipelines.outputs.tables.results import TableResults
from vtrack.pipelines.tables.comparison.points import CommonPoints, Places
from vtrack.pipelines.tables.comparison.statistics import peak_offset
from vtrack.types import FloatArray, FrameResult

_FRAMES = 6000
"""Frames from the first on that are looked at, so that what is in memory does not grow with the tables."""
MOST = 90
"""Frames of a shift at most."""
_STILL = 1e-4
"""Mean product of deviations in square pixels up to which nothing moves: tables have three decimals."""
_LEAST = 30
"""Frames that must overlap."""


@dataclass(frozen=True, slots=True)
class TimeShift:
    """By how much one table lags behind another."""

    frames: int
    exact: float
    """The same to a part of a frame."""
    correlation: float
    """Correlation of the motion of the parts of the face, at this shift; that without a shift is `unshifted`."""
    unshifted: float

    def figures(self) -> dict[str, float]:
        """The estimate for `--json`."""
        return {"estimate": self.exact, "correlation": self.correlation, "unshifted": self.unshifted}


def estimate_shift(first: TableResults, second: TableResults, common: CommonPoints) -> TimeShift:
    """Find the shift at which the faces of two tables move most alike.

    It is the largest value of the cross-correlation of where the parts of the largest face are in each frame.

    Args:
        first: One table, not yet read.
        second: The other.
        common: The points that they have in common.

    Raises:
        UsageError: Nothing moves, or the tables have too few frames with a face.
    """
    part = np.array([common.part_names.index(name) for name in common.parts])
    one, other = (
        _course(results, places, part) for results, places in ((first, common.first), (second, common.second))
    )
    start = min(min(one, default=0), min(other, default=0))
    length = max(max(one, default=0), max(other, default=0)) - start + 1
    tables = [_dense(course, start, length, 2 * len(common.part_names)) for course in (one, other)]
    shifts = range(-MOST, MOST + 1)
    correlations = np.array([_correlation(*_overlap(tables[0], tables[1], shift)) for shift in shifts])
    if not np.isfinite(correlations).any():
        raise UsageError(
            f"{first.table.path} and {second.table.path} have too little motion in common to find a shift; give it, "
            f"{spelled('shift', 'FRAMES')}"
        )
    best = int(np.nanargmax(correlations))
    return TimeShift(
        shifts[best],
        shifts[best] + peak_offset(correlations, best),
        float(correlations[best]),
        float(correlations[MOST]),
    )


def _course(results: Iterator[FrameResult], places: Places, part: np.ndarray) -> dict[int, FloatArray]:
    """(parts * 2,) the mean place of each part of the largest face, by the number of the frame."""
    counts = np.bincount(part)[:, None]
    course: dict[int, FloatArray] = {}
    for result in islice(results, _FRAMES):
        if result.faces:
            points = places.of(max(result.faces, key=lambda face: float(face.box[2] * face.box[3])).points)
            sums = np.zeros((len(counts), 2))
            np.add.at(sums, part, points)
            course[result.index] = (sums / counts).ravel()
    return course


def _dense(course: dict[int, FloatArray], start: int, length: int, columns: int) -> FloatArray:
    """(frames, columns) of a course; NaN where there is no face."""
    rows = np.full((length, columns), np.nan)
    for index, values in course.items():
        rows[index - start] = values
    return rows


def _overlap(first: FloatArray, second: FloatArray, shift: int) -> tuple[FloatArray, FloatArray]:
    """The rows of both tables that belong together where the second lags by some frames."""
    length = max(len(first) - abs(shift), 0)
    one, other = first[max(-shift, 0) :][:length], second[max(shift, 0) :][:length]
    known = np.isfinite(one).all(1) & np.isfinite(other).all(1)
    return one[known], other[known]


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Correlation of two courses (frames, columns), each around its mean, over all columns together."""
    if len(one) < _LEAST:
        return float("nan")
    one, other = one - one.mean(0), other - other.mean(0)
    scale = float(np.sqrt(np.square(one).sum() * np.square(other).sum()))
    return float((one * other).sum()) / scale if scale > _STILL * one.size else float("nan")
