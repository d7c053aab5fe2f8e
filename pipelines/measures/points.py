"""What is measured, and the points that it is measured from: names only, light to import."""

from __future__ import annotations

from vtrack.types import Query

MEASURES = (
    *("left_eye_open", "right_eye_open", "blink", "blinks", "mouth_open", "smile_width"),
    *("left_brow_raise", "right_brow_raise", "yaw", "pitch", "roll"),
)
"""Names of the measures. `blink` is 1 while the eyes are closed for a moment, `blinks` counts those of a face so far."""

_SIXTHS, _EIGHTHS = [i / 6 for i in range(6)], [i / 8 for i in range(8)]
SPOTS = {
    "left_eye": _SIXTHS,
    "right_eye": _SIXTHS,
    "nose_bridge": [0.0, 1 / 3, 2 / 3, 1.0],
    "nose_base": [1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6],
    "inner_lip": _EIGHTHS,
    "outer_lip": [0.0, 0.5],
    "left_brow": [1 / 9, 2 / 9, 3 / 9],
    "right_brow": [1 / 9, 2 / 9, 3 / 9],
}
"""Positions on each part that is measured."""
_POINTS = [(part, position) for part, positions in SPOTS.items() for position in positions]
MEASURED = Query(
    tuple(part for part, _ in _POINTS),
    tuple(position for _, position in _POINTS),
    tuple(f"measure_{i}" for i in range(len(_POINTS))),
)
"""The points that the measures are taken from; the pipeline asks for them beside the user's."""
