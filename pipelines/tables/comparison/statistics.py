"""Figures over any number of rows in constant memory: quantiles by a histogram, bias, jitter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from vtrack.types import FloatArray

_SMALLEST, _LARGEST = 1e-4, 1e7
"""Smaller values count as 0, larger ones as the largest."""
LIMITS = 1.96
"""Limits of agreement, in standard deviations: 95 % of normally distributed differences."""

Groups = npt.NDArray[np.intp]


class DistanceHistogram:
    """Mean, quantiles and maximum of distances, by group: in bins that widen by a constant factor.

    Args:
        groups: Number of groups.
        factor: Width of a bin; quantiles are exact to the root of it.
    """

    def __init__(self, groups: int, factor: float = 1.002) -> None:
        self._log = float(np.log(factor))
        self._bins = int(np.ceil(np.log(_LARGEST / _SMALLEST) / self._log)) + 2
        self.counts = np.zeros((groups, self._bins), np.int64)
        self.total = np.zeros(groups)
        self.largest = np.zeros(groups)

    def add(self, groups: Groups, values: FloatArray) -> None:
        """Count values (n,) of groups (n,); those that are not finite are left out."""
        known = np.isfinite(values)
        groups, values = groups[known], values[known]
        place = np.floor(np.log(np.clip(values, _SMALLEST, _LARGEST) / _SMALLEST) / self._log).astype(np.intp) + 1
        place[values < _SMALLEST] = 0
        np.add.at(self.counts, (groups, place), 1)
        np.add.at(self.total, groups, values)
        np.maximum.at(self.largest, groups, values)

    def halve(self) -> None:
        """Add every second group to the one before it; the groups behind are empty then."""
        half = len(self.counts) // 2
        for array, join in ((self.counts, np.add), (self.total, np.add), (self.largest, np.maximum)):
            array[:half] = join(array[: 2 * half : 2], array[1 : 2 * half : 2])
            array[half:] = 0

    def figures(self, group: int | None = None) -> dict[str, float]:
        """`mean`, `median`, `p95` and `max` of a group, or of all; NaN where there are no values."""
        chosen = slice(None) if group is None else slice(group, group + 1)
        counts = self.counts[chosen].sum(0)
        count = int(counts.sum())
        if not count:
            return dict.fromkeys(("mean", "median", "p95", "max"), float("nan"))
        largest = float(self.largest[chosen].max())
        reached = np.searchsorted(np.cumsum(counts), [0.5 * count, 0.95 * count])
        middle = np.where(reached == 0, 0.0, _SMALLEST * np.exp((reached - 0.5) * self._log))
        median, high = np.minimum(middle, largest).tolist()
        return {"mean": float(self.total[chosen].sum()) / count, "median": median, "p95": high, "max": largest}

    def count(self, group: int | None = None) -> int:
        """Number of values of a group, or of all."""
        return int(self.counts.sum() if group is None else self.counts[group].sum())


class OffsetSums:
    """Bias and limits of agreement (Bland and Altman) of the offsets of points, by group and axis.

    Args:
        groups: Number of groups.
    """

    def __init__(self, groups: int) -> None:
        self._count = np.zeros(groups, np.int64)
        self._sum, self._squares = np.zeros((groups, 2)), np.zeros((groups, 2))

    def add(self, groups: Groups, offsets: FloatArray) -> None:
        """Count offsets (n, 2) of groups (n,)."""
        known = np.isfinite(offsets).all(1)
        groups, offsets = groups[known], offsets[known]
        np.add.at(self._count, groups, 1)
        np.add.at(self._sum, groups, offsets)
        np.add.at(self._squares, groups, np.square(offsets))

    def figures(self, group: int | None = None) -> dict[str, Any]:
        """`bias` [x, y], and `limits` [[low, high], [low, high]] of x and y, of a group or of all."""
        chosen = slice(None) if group is None else slice(group, group + 1)
        count = int(self._count[chosen].sum())
        if not count:
            return {"bias": [float("nan")] * 2, "limits": [[float("nan")] * 2] * 2}
        bias = self._sum[chosen].sum(0) / count
        variance = np.maximum(self._squares[chosen].sum(0) / count - np.square(bias), 0.0)
        reach = LIMITS * np.sqrt(variance * count / max(count - 1, 1))
        return {"bias": bias.tolist(), "limits": np.stack([bias - reach, bias + reach], 1).tolist()}


class JitterSums:
    """Jitter of points by group: the root mean square of the second differences of a coordinate, over the root of 6.

    For noise that is independent from frame to frame this is its standard deviation; steady motion does not add to it.

    Args:
        groups: Number of groups.
    """

    def __init__(self, groups: int) -> None:
        self._count, self._squares = np.zeros(groups, np.int64), np.zeros(groups)

    def add(self, groups: Groups, bends: FloatArray) -> None:
        """Count second differences (n, 2) of groups (n,)."""
        known = np.isfinite(bends).all(1)
        np.add.at(self._count, groups[known], 1)
        np.add.at(self._squares, groups[known], np.square(bends[known]).mean(1))

    def figure(self, group: int | None = None) -> float:
        """The jitter of a group, or of all."""
        chosen = slice(None) if group is None else slice(group, group + 1)
        count = int(self._count[chosen].sum())
        return float(np.sqrt(self._squares[chosen].sum() / count / 6)) if count else float("nan")


def peak_offset(values: FloatArray, at: int) -> float:
    """Where a peak lies between values, from -0.5 to 0.5 off the largest one, by a parabola; 0 at either end."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, top, after = values[at - 1 : at + 2].tolist()
    bend = before - 2 * top + after
    return 0.5 * (before - after) / bend if bend < 0 else 0.0
