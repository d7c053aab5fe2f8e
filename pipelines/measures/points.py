"""Names of the measures, and the points that they are computed from; light to import."""

from __future__ import annotations

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
_POINTS = [(part, position) for part, positions in MEASURE_POSITIONS.items() for position in positions]
MEASURE_QUERY = Query(
    tuple(part for part, _ in _POINTS),
    tuple(position for _, position in _POINTS),
    tuple(f"measure_{i}" for i in range(len(_POINTS))),
)
"""The points of the measures; the pipeline adds them to the user's points."""
