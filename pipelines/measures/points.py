"""Names of the measures, and the points that measures, poses and expressions are computed from; light to import."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from vtrack.types import Query

MEASURES = (
    *("left_eye_open", "right_eye_open", "blink", "blinks", "mouth_open", "smile_width"),
    *("left_brow_raise", "right_brow_raise", "yaw", "pitch", "roll"),
    *("left_openness", "right_openness", "left_openness_sd", "right_openness_sd", "perclos"),
)
"""Names of the measures. `blink` is 1 while the eyes are closed in a blink, `blinks` counts the blinks of a face so far."""

_SIXTHS, _EIGHTHS = [i / 6 for i in range(6)], [i / 8 for i in range(8)]
MEASURE_POSITIONS = {
    "left_eye": _SIXTHS,
    "right_eye": _SIXTHS,
    "nose_bridge": [0.0, 1 / 3, 2 / 3, 1.0],
    "nose_base": [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6],
    "inner_lip": _EIGHTHS,
    "outer_lip": [0.0, 0.5],
    "left_brow": [1 / 9, 2 / 9, 3 / 9],
    "right_brow": [1 / 9, 2 / 9, 3 / 9],
}
"""Positions of the measured points on each part."""
_FURTHER_POSITIONS = {
    "left_brow": [0.0, 4 / 9],
    "right_brow": [0.0, 4 / 9],
    "outer_lip": [2 / 12, 3 / 12, 4 / 12, 8 / 12, 9 / 12, 10 / 12],
    "jaw": [14 / 32, 16 / 32, 18 / 32],
}
"""Positions of the points that expressions need beside these."""


def _query(positions: Mapping[str, Sequence[float]], prefix: str) -> Query:
    """The points at some positions of parts, named by numbers."""
    points = [(part, position) for part, some in positions.items() for position in some]
    names = tuple(f"{prefix}_{i}" for i in range(len(points)))
    return Query(tuple(part for part, _ in points), tuple(position for _, position in points), names)


MEASURE_QUERY = _query(MEASURE_POSITIONS, "measure")
"""The points of measures and poses; the pipeline adds them to the user's points."""
FURTHER_QUERY = _query(_FURTHER_POSITIONS, "expression")
"""The points that expressions need beside those of `MEASURE_QUERY`."""
EXPRESSION_QUERY = MEASURE_QUERY + FURTHER_QUERY
"""The points of expressions."""


def added_queries(groups: Collection[str]) -> tuple[Query, ...]:
    """The points that the pipeline adds to the user's for some `MEASURED_GROUPS`, in order."""
    return (MEASURE_QUERY,) * bool(groups) + (FURTHER_QUERY,) * ("expressions" in groups)
