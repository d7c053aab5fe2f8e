"""Agreement of what two tables say of the same faces beside their points: measures, blinks, poses, expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vtrack.measures import EXPRESSION_NAMES, POSE_NAMES
from vtrack.pipelines.measures.points import MEASURES
from vtrack.pipelines.tables.comparison.pairing import FacePair
from vtrack.pipelines.tables.comparison.statistics import LIMITS
from vtrack.types import Face, FloatArray

_COUNTED = ("blink", "blinks", "perclos")
"""Measures that are compared by counts, or are means over a minute."""
_COMPARED = {
    "measures": tuple(name for name in MEASURES if name not in _COUNTED and not name.endswith("_sd")),
    "pose": tuple(
        name for name in POSE_NAMES if not name.endswith("_sd") and not name.startswith(("pose_q", "pose_f"))
    ),
    "expressions": tuple(name for name in EXPRESSION_NAMES if not name.endswith("_sd")),
}
"""Names that are compared of each group of columns; of a pose place and angles, which its quaternion repeats."""
_PLACES = {
    group: [names.index(name) for name in _COMPARED[group]]
    for group, names in (("measures", MEASURES), ("pose", POSE_NAMES), ("expressions", EXPRESSION_NAMES))
}


class AgreementSums:
    """Agreement of two raters, by column: bias and limits of agreement, correlations, mean distance.

    Args:
        columns: Number of columns.
    """

    def __init__(self, columns: int) -> None:
        self._count = np.zeros(columns, np.int64)
        self._origin = np.full(columns, np.nan)
        """The first value of each column, which is subtracted: the sums of squares are exact then."""
        self._sums = np.zeros((2, columns))
        self._products = np.zeros((3, columns))
        """Of the first with itself, of the second with itself, of both."""
        self._distance = np.zeros(columns)

    def add(self, first: FloatArray, second: FloatArray) -> None:
        """Count values (rows, columns) of both raters; those of which either is unknown are left out."""
        known = np.isfinite(first) & np.isfinite(second)
        new = np.isnan(self._origin) & known.any(0)
        rows = known.argmax(0)
        self._origin[new] = first[rows[new], np.flatnonzero(new)]
        one, other = (np.where(known, values - self._origin, 0.0) for values in (first, second))
        self._count += known.sum(0)
        self._sums += [one.sum(0), other.sum(0)]
        self._products += [np.square(one).sum(0), np.square(other).sum(0), (one * other).sum(0)]
        self._distance += np.abs(one - other).sum(0)

    def figures(self) -> list[dict[str, float]]:
        """For each column `count`, `first` and `second` (means), `bias`, `limits`, `distance` (mean absolute difference), `r`
        (Pearson) and `icc` (two-way random, absolute agreement, single rater: ICC(2,1)); NaN where there are too few values."""
        return [self._of_column(column) for column in range(len(self._count))]

    def _of_column(self, column: int) -> dict[str, Any]:
        count = int(self._count[column])
        nan = float("nan")
        if not count:
            return {
                "count": 0,
                **dict.fromkeys(("first", "second", "bias", "distance", "r", "icc"), nan),
                "limits": [nan] * 2,
            }
        means = self._sums[:, column] / count
        squares = self._products[:2, column] - count * np.square(means)
        one, other = np.maximum(squares, 0.0).tolist()
        both = float(self._products[2, column] - count * means[0] * means[1])
        bias = float(means[0] - means[1])
        reach = LIMITS * float(np.sqrt(max(one + other - 2 * both, 0.0) / max(count - 1, 1)))
        first, second = (means + self._origin[column]).tolist()
        return {
            "count": count,
            "first": first,
            "second": second,
            "bias": bias,
            "limits": [bias - reach, bias + reach],
            "distance": float(self._distance[column]) / count,
            "r": both / float(np.sqrt(one * other)) if one > 0 and other > 0 else nan,
            "icc": _icc(count, one, other, both, bias),
        }


def _icc(count: int, one: float, other: float, both: float, bias: float) -> float:
    """ICC(2,1) of two raters by the sums of squares around their means, the sum of products, and the bias."""
    if count < 2:
        return float("nan")
    between = (one + other + 2 * both) / 2 / (count - 1)  # mean square between faces
    rest = (one + other - 2 * both) / 2 / (count - 1)
    raters = count * bias * bias / 2
    whole = between + rest + 2 * (raters - rest) / count
    return (between - rest) / whole if whole > 0 else float("nan")


class ValueComparison:
    """Compares the measures, poses and expressions of faces in pairs, as far as both tables have them.

    Args:
        groups: Groups of columns of each table.
    """

    def __init__(self, groups: Sequence[Sequence[str]]) -> None:
        self._sums = {
            group: AgreementSums(len(names))
            for group, names in _COMPARED.items()
            if all(group in each for each in groups)
        }
        self._shut = np.zeros((2, 2), np.int64)
        """Rows by whether a blink is under way, in the first table and in the second."""
        self._blinks: tuple[dict[int, int], dict[int, int]] = ({}, {})
        """The number of blinks of each face so far."""

    def add(self, pairs: Sequence[FacePair]) -> None:
        """Count pairs of faces, at least one."""
        for group, sums in self._sums.items():
            tables = [_values(group, [(pair.first, pair.second)[table] for pair in pairs]) for table in (0, 1)]
            one, other = (values[:, _PLACES[group]] for values in tables)
            sums.add(one, other)
            if group == "measures":
                self._add_blinks(pairs, *tables)

    def _add_blinks(self, pairs: Sequence[FacePair], first: FloatArray, second: FloatArray) -> None:
        shut = np.stack([first[:, MEASURES.index("blink")], second[:, MEASURES.index("blink")]])
        known = shut[:, np.isfinite(shut).all(0)].astype(np.intp)
        np.add.at(self._shut, (known[0], known[1]), 1)
        place = MEASURES.index("blinks")
        for faces, values, ids in (
            (self._blinks[0], first[:, place], [pair.first.id for pair in pairs]),
            (self._blinks[1], second[:, place], [pair.second.id for pair in pairs]),
        ):
            faces.update((number, int(value)) for number, value in zip(ids, values.tolist(), strict=True) if value >= 0)

    def figures(self) -> dict[str, Any]:
        """The figures of each name by its group, and those of blinks; empty where the tables have nothing in common."""
        figures: dict[str, Any] = {
            group: dict(zip(_COMPARED[group], sums.figures(), strict=True)) for group, sums in self._sums.items()
        }
        if "measures" in self._sums:
            figures["blinks"] = {
                **{name: sum(each.values()) for name, each in zip(("first", "second"), self._blinks, strict=True)},
                "frames_of_both": int(self._shut[1, 1]),
                "frames_of_first": int(self._shut[1, 0]),
                "frames_of_second": int(self._shut[0, 1]),
                "kappa": _kappa(self._shut),
            }
        return figures


def _values(group: str, faces: Sequence[Face]) -> FloatArray:
    """(faces, names) the values of a group, all that its columns hold; NaN for faces without."""
    count = {"measures": len(MEASURES), "pose": len(POSE_NAMES), "expressions": len(EXPRESSION_NAMES)}[group]
    nothing = np.full(count, np.nan)
    each = [getattr(face, group) for face in faces]
    return np.array([value.array if value else nothing for value in each])


def _kappa(counts: np.ndarray) -> float:
    """Cohen's kappa of two raters, by rows (2, 2) of what the first and the second say."""
    total = int(counts.sum())
    if not total:
        return float("nan")
    agreed = float(counts.trace()) / total
    chance = float((counts.sum(0) * counts.sum(1)).sum()) / total**2
    return (agreed - chance) / (1 - chance) if chance < 1 else float("nan")
