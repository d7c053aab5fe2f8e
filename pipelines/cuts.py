"""Scene cuts, told from a few hundred pixels of each frame."""

from __future__ import annotations

from collections import deque

import numpy as np

from vtrack.planes import Pixels, Planes
from vtrack.types import FloatArray, ImageArray

_ROWS, _COLUMNS = 18, 32
_CHANGE = 24.0
"""Mean change of brightness, of 255, from one frame to the next that a cut has at least ..."""
_OUTSTANDING = 4.0
"""... and how many times the usual change of the last frames; fast motion changes much, but in every frame."""
_MEMORY = 12


class CutDetector:
    """Says of each frame whether a new scene begins with it."""

    def __init__(self) -> None:
        self._last: FloatArray | None = None
        self._changes: deque[float] = deque(maxlen=_MEMORY)

    def is_cut(self, image: Pixels) -> bool:
        """Compare this frame with the one before. The first is no cut, and neither is a frame of another size."""
        small = thumbnail(image).astype(np.float64)
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean())
        usual = float(np.median(self._changes)) if self._changes else 0.0
        cut = change > max(_CHANGE, _OUTSTANDING * usual)
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut


def thumbnail(image: Pixels) -> ImageArray:
    """(rows, columns) green of evenly spread pixels: all of a picture that cuts are told from."""
    height, width = image.shape[:2]
    rows = ((np.arange(_ROWS) + 0.5) * height / _ROWS).astype(np.intp)
    columns = ((np.arange(_COLUMNS) + 0.5) * width / _COLUMNS).astype(np.intp)
    if isinstance(image, Planes):
        return image.green(rows, columns)
    return image[rows[:, None], columns, 1]
