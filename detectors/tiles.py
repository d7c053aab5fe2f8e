"""Windows over a large frame, so that a face too small for a shrunken frame is seen at its own size."""

from __future__ import annotations

import numpy as np

from vtrack.types import FloatArray


def windows(width: int, height: int, side: int, overlap: int) -> np.ndarray:
    """(windows, 4) x, y, w, h that cover the frame, at most `side` wide and high, sharing at least `overlap` pixels."""
    spans = []
    for length in (width, height):
        reach = min(side, length)
        count = 1 if length <= side else -(-(length - overlap) // (side - overlap))
        spans.append((np.linspace(0, length - reach, count).round().astype(int), reach))
    (xs, w), (ys, h) = spans
    return np.array([(x, y, w, h) for y in ys for x in xs])


def whole(boxes: FloatArray, window: np.ndarray, width: int, height: int) -> np.ndarray:
    """(faces,) True where a box x, y, w, h ends inside its window, or where the window ends with the frame.

    A face that a window cuts is seen whole in the next one, as long as it is smaller than their overlap.
    """
    x, y, w, h = window
    inside = (boxes[:, 0] >= x) | (x == 0)
    inside &= (boxes[:, 1] >= y) | (y == 0)
    inside &= (boxes[:, 0] + boxes[:, 2] <= x + w) | (x + w == width)
    inside &= (boxes[:, 1] + boxes[:, 3] <= y + h) | (y + h == height)
    return inside
