"""The error that signals suggest.

The logarithms of the error and of all signals are taken as normally distributed together, so that any of the signals tell the
error, whichever a table has: `python -m vtrack.training.studies.quality` measures their means and covariances on clips of known
points.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vtrack.pipelines.tables.doubts import REASONS
from vtrack.pipelines.tables.quality.signals import SIGNALS
from vtrack.types import FloatArray

PATH = Path(__file__).with_name("error_model.csv")
_DIRECT = np.isin(list(SIGNALS), ("tremble", "shape", "flow", "place"))
"""Signals that are distances of points from where they should be."""
_FULL = np.log(4.0)
"""Logarithm of the factor beyond its limit at which a signal is a full reason."""
_LEAST = np.log(1.15) / _FULL
"""Least weight of a reason: each of the signals exceeds its limit a little in one of twenty accurate face-seconds."""
_COLUMNS = ("mean", "floor", "limit")
_ERROR = "error"


class ErrorEstimate(NamedTuple):
    """Mean error of the points of a face in one second, in % of the distance between the outer corners of the eyes."""

    error: float
    low: float
    high: float
    """With `low` the bounds within which two of three errors lie."""


@dataclass(frozen=True, eq=False, slots=True)
class ErrorModel:
    """How signals depend on the error."""

    mean: FloatArray
    """(1 + signals,) means of the logarithms of the error in % and of the signals."""
    covariance: FloatArray
    """(1 + signals, 1 + signals)"""
    floor: FloatArray
    """(signals,) smallest value that is believed: points that stand still are no better than those of clear faces."""
    limit: FloatArray
    """(signals,) value that one of twenty accurate face-seconds of the clips exceeds."""
    _weights: dict[bytes, tuple[FloatArray, float]] = field(default_factory=dict)
    """Weights of signals and standard deviation of the error, by the signals that are known."""

    def estimate(self, signals: FloatArray) -> ErrorEstimate:
        """The error by signals (signals,) in the order of `SIGNALS`, NaN where nothing is known; NaN if no signal is.

        Far beyond what the clips had, the signals that are distances themselves (`_DIRECT`) tell more than the covariances:
        points beside the face, or that stay where they are while it moves, are off by that much. So the largest of what they
        have beyond their limits is added, as squares.
        """
        known = np.isfinite(signals)
        if not known.any():
            return ErrorEstimate(np.nan, np.nan, np.nan)
        logs = np.log(np.maximum(np.where(known, signals, 1.0), self.floor))
        weights, deviation = self._weights_of(known)
        middle = self.mean[0] + weights @ (logs - self.mean[1:])
        bounds = np.exp(middle + deviation * np.array([0.0, -1.0, 1.0]))
        beyond = np.where(known & _DIRECT, np.square(signals) - np.square(self.limit), 0.0).max(initial=0.0)
        return ErrorEstimate(*np.sqrt(np.square(bounds) + beyond).tolist())

    def reasons(self, signals: FloatArray) -> dict[str, FloatArray]:
        """(rows,) weights of the reasons for doubt that are signals, by how far signals (rows, signals) exceed their limits."""
        known = np.where(np.isfinite(signals), signals, 0.0)
        weights = np.clip(np.log(np.maximum(known / self.limit, 1.0)) / _FULL, 0.0, 1.0)
        weights[weights < _LEAST] = 0.0
        return {name: weights[:, i] for i, name in enumerate(SIGNALS) if name in REASONS}

    def _weights_of(self, known: np.ndarray) -> tuple[FloatArray, float]:
        """(signals,) weights of the logarithms of the signals, none negative, and the standard deviation that they leave."""
        # Imported late: reports estimate nothing, and it takes longer to import than a short table to read.
        from scipy.optimize import nnls

        key = known.tobytes()
        if key not in self._weights:
            weights, places = np.zeros(len(known)), np.flatnonzero(known)
            root = np.linalg.cholesky(self.covariance[np.ix_(places + 1, places + 1)])
            weights[places] = nnls(root.T, np.linalg.solve(root, self.covariance[places + 1, 0]))[0]
            pull = np.concatenate([[-1.0], weights])
            self._weights[key] = weights, float(np.sqrt(pull @ self.covariance @ pull))
        return self._weights[key]

    def save(self, path: Path) -> None:
        """Write the file."""
        bounds = np.vstack([np.full((1, 2), np.nan), np.column_stack([self.floor, self.limit])])
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("name", *_COLUMNS, _ERROR, *SIGNALS))
            for name, row in zip(
                (_ERROR, *SIGNALS), np.column_stack([self.mean, bounds, self.covariance]), strict=True
            ):
                writer.writerow((name, *("" if np.isnan(cell) else f"{cell:.5g}" for cell in row.tolist())))


@cache
def error_model() -> ErrorModel:
    """The model that comes with the project."""
    with PATH.open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    names = (_ERROR, *SIGNALS)
    cells = np.array([[float(rows[name][column] or "nan") for column in (*_COLUMNS, *names)] for name in names])
    mean, floor, limit = cells[:, : len(_COLUMNS)].T
    return ErrorModel(mean, cells[:, len(_COLUMNS) :], floor[1:], limit[1:])
