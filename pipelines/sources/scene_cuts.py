"""Scene cut detection from the brightness of a few hundred pixels of each frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from vtrack.imaging.planes import BT601, Pixels, Planes
from vtrack.types import FloatArray, Frame

_ROWS, _COLUMNS = 18, 32
"""Grid of sampled pixels."""
_MIN_CHANGE = 24.0
"""A cut changes the mean absolute brightness by more than this, of 255 ..."""
_MIN_RATIO = 4.0
"""... and by more than this many times the median change of the last frames: fast motion changes much in every frame."""
_HISTORY = 12
"""Number of frames whose change is remembered."""
_LUMA_WEIGHTS = np.array([BT601[0], 1 - sum(BT601), BT601[1]], np.float32)
"""Weights of red, green and blue in brightness."""


def mark_cuts(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the same frames; the first frame of each new scene gets `cut=True`."""
    detector = CutDetector()
    for frame in frames:
        yield replace(frame, cut=True) if detector.is_cut(frame.pixels) else frame


class CutDetector:
    """Compares each image of a video with the one before and reports scene cuts."""

    def __init__(self) -> None:
        self._last: FloatArray | None = None
        self._changes: deque[float] = deque(maxlen=_HISTORY)

    def is_cut(self, image: Pixels) -> bool:
        """Return whether a new scene begins with this image; False for the first image."""
        brightness = _brightness(image)
        last, self._last = self._last, brightness
        if last is None:
            return False
        change = float(np.abs(brightness - last).mean())
        cut = change > _MIN_CHANGE and change > _MIN_RATIO * self._median_change()
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut

    def _median_change(self) -> float:
        return float(np.median(self._changes)) if self._changes else 0.0


def _brightness(image: Pixels) -> FloatArray:
    """(rows, columns) brightness, 0 to 255, of evenly spread pixels."""
    grid = _grid(*image.shape[:2])
    if isinstance(image, Planes):
        return image.brightness(*grid)
    return np.dot(image[grid].astype(np.float32), _LUMA_WEIGHTS)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows (rows, 1) and columns (1, columns) of the sampled pixels."""
    rows = ((np.arange(_ROWS) + 0.5) * height / _ROWS).astype(np.intp)
    columns = ((np.arange(_COLUMNS) + 0.5) * width / _COLUMNS).astype(np.intp)
    return rows[:, None], columns[None]
