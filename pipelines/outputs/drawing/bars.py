"""Bars beside a face that tell its expressions: from the middle of each to the side of the picture on which the face moves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vtrack.imaging.planes import Pixels
from vtrack.measures import SHAPES
from vtrack.pipelines.outputs.drawing.overlay import Overlay
from vtrack.pipelines.outputs.drawing.palette import Color, part_color
from vtrack.types import Face

_PARTS = {"eye": "left_eye", "brow": "left_brow", "jaw": "jaw", "mouth": "outer_lip"}
"""Parts whose colours bars have, by the beginnings of the names of shapes."""
_NAMES = {"mouth": "mouth aside"}
"""Names of pairs that are not called as both of their shapes begin."""
_ROW, _LEAST_ROW, _LEAST_NAMED = 0.066, 4.0, 9.0
"""Height of a row over the size of the face, least height in pixels, and that from which on rows have names."""
_NAME, _BARS = 7.0, 11.0
"""Widths of the names, and of the bars to both sides, in rows."""
_KEPT = 0.8
"""Share of the bars for which there must be room where they have been."""
_GAP = 0.06
"""Distance from the box of the face, over the size of the face."""
_SHARPEST = 20.0
"""Height of a row in pixels of the overlay at most."""
_BACKGROUND: Color = (10, 12, 18)
_TRACK: Color = (70, 74, 84)


class _Row(NamedTuple):
    """A shape, or the right and the left of a pair."""

    name: str
    right: int
    """Place among `SHAPES` of that on the right of the person, which is drawn to the left; of one in the middle the same."""
    left: int
    color: Color


def _rows() -> list[_Row]:
    """All shapes, the right and the left of a pair in one row."""
    rows = []
    for name in (name for name in SHAPES if not name.endswith("Right")):
        stem = name.removesuffix("Left")
        right, left = (SHAPES.index(name if name == stem else stem + side) for side in ("Right", "Left"))
        color = next(part_color(part) for start, part in _PARTS.items() if name.startswith(start))
        rows.append(_Row(_NAMES.get(stem, stem), right, left, color))
    return rows


_ROWS = _rows()
_HEIGHT = len(_ROWS) + 0.5
"""Height of all bars in rows."""


class Bars:
    """Draws the expressions of faces beside them; those of a face stay where they are as long as there is room."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[bool, bool]] = {}
        """By face, whether its bars have names, and whether they are to its left."""

    def draw(self, pixels: Pixels, face: Face, size: float, opacity: float) -> None:
        """Draw the expressions of a face.

        Args:
            pixels: Pixels of the frame, which are changed.
            face: The face; nothing is drawn where its expressions are not known.
            size: Size of the face in pixels.
            opacity: Opacity of the bars.
        """
        if face.expressions is None or not np.isfinite(values := face.expressions.array[: len(SHAPES)]).all():
            return
        row = max(_ROW * size, _LEAST_ROW)
        named, leftwards = self._place(face, size, row, pixels.shape[1])
        start = _NAME if named else 0.0
        extent = np.array([start + _BARS, _HEIGHT]) * row
        x, y, w, h = face.box
        corner = np.array([x - _GAP * size - extent[0] if leftwards else x + w + _GAP * size, y + (h - extent[1]) / 2])
        corner = np.clip(corner, 0.0, np.maximum((pixels.shape[1], pixels.shape[0]) - extent, 0.0))
        area = np.array([corner, corner + extent])
        overlay = Overlay.over(pixels, area, margin=0.0, scale=min(_SHARPEST / row, 2.0))
        if overlay is None:
            return

        def bar(y: float, ends: tuple[float, float], width: float, color: Color, opacity: float) -> None:
            middle, reach = start + _BARS / 2, (_BARS - 1) / 2
            line = corner + row * np.array([[middle + reach * end, y] for end in ends])
            overlay.stroke([overlay.to_fixed(line)], width * row * float(overlay.scale[1]), color, opacity)

        overlay.fill(area, _BACKGROUND, 0.55)
        for i, (name, right, left, color) in enumerate(_ROWS):
            bar(i + 0.75, (-1.0, 1.0), 0.2, _TRACK, 0.8)
            bar(i + 0.75, (-values[right], values[left]), 0.6, color, opacity)
            if named:
                overlay.text(name, corner + row * np.array([0.4, i + 0.75]), 0.72 * row, color)
        overlay.blend_into(pixels)

    def _place(self, face: Face, size: float, row: float, width: int) -> tuple[bool, bool]:
        """Whether bars have names, and whether they are to the left of the face, in a frame of this width."""
        x, _, w, _ = face.box
        room = width - x - w - _GAP * size, x - _GAP * size  # to the right and to the left

        def fits(named: bool, leftwards: bool, tolerance: float) -> bool:
            wide = (_NAME * named + _BARS) * row
            return room[leftwards] >= wide * tolerance and (not named or row >= _LEAST_NAMED * tolerance)

        before = self._places.get(face.id)
        if before is None or not fits(*before, tolerance=_KEPT):
            places = ((named, leftwards) for named in (True, False) for leftwards in (False, True))
            roomier = False, bool(room[1] > room[0])
            self._places[face.id] = next((place for place in places if fits(*place, tolerance=1.0)), roomier)
        return self._places[face.id]
