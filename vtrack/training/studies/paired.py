"""Paired differences between two networks: the same faces, the same seeds, and how sure the difference is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vtrack.types import FloatArray

SURE = 2.0
"""A difference counts if it is larger than this many of its standard errors."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Mean difference of two errors, in % of the eye distance; negative if the first is better."""

    mean: float
    error: float
    """Standard error of the mean, from faces and seeds."""
    seeds: int

    @property
    def verdict(self) -> str:
        """Whether the first is better: `holds`, `does not hold`, or `not shown` if the difference is within its error."""
        if abs(self.mean) <= SURE * self.error:
            return "not shown"
        return "holds" if self.mean < 0 else "does not hold"

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}" + (" (one seed)" if self.seeds == 1 else "")


def paired(first: FloatArray, second: FloatArray) -> PairedDifference:
    """Compare the errors (seeds, faces) of two networks on the same faces; NaN where a face has none.

    The error is that of the mean over faces, and that of the mean over seeds on top: two networks of the same recipe differ
    by the order of their batches, which no number of faces averages out.
    """
    away = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    away = away[:, np.isfinite(away).all(0)]
    seeds, faces = away.shape
    if faces < 2:
        return PairedDifference(float("nan"), float("inf"), seeds)
    of_faces = away.mean(0).std(ddof=1) / np.sqrt(faces)
    of_seeds = away.mean(1).std(ddof=1) / np.sqrt(seeds) if seeds > 1 else 0.0
    return PairedDifference(float(away.mean()), float(np.hypot(of_faces, of_seeds)), seeds)
