"""Scene cuts, told from the brightness of a few hundred pixels of each frame."""

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
_CHANGE = 24.0
"""Mean change of brightness, of 255, from one frame to the next that a cut has at least ..."""
_OUTSTANDING = 4.0
"""... and how many times the usual change of the last frames; fast motion changes much, but in every frame."""
_MEMORY = 12
_SHARES = np.array([BT601[0], 1 - sum(BT601), BT601[1]], np.float32)
"""Of red, green and blue in brightness."""


def marked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same frames; each that a new scene begins with says so."""
    detector = CutDetector()
    for frame in frames:
        yield replace(frame, cut=True) if detector.is_cut(frame.pixels) else frame


class CutDetector:
    """Says of each picture whether a new scene begins with it."""

    def __init__(self) -> None:
        self._last: FloatArray | None = None
        self._changes: deque[float] = deque(maxlen=_MEMORY)

    def is_cut(self, image: Pixels) -> bool:
        """Compare this picture with the one before. The first is no cut."""
        small = _glance(image)
        last, self._last = self._last, small
        if last is None:
            return False
        change = float(np.abs(small - last).mean())
        cut = change > _CHANGE and change > _OUTSTANDING * self._usual()
        if cut:
            self._changes.clear()
        else:
            self._changes.append(change)
        return cut

    def _usual(self) -> float:
        """The usual change of the last pictures."""
        return float(np.median(self._changes)) if self._changes else 0.0


def _glance(image: Pixels) -> FloatArray:
    """(rows, columns) brightness, 0 to 255, of evenly spread pixels."""
    places = _places(*image.shape[:2])
    if isinstance(image, Planes):
        return image.brightness(*places)
    return np.dot(image[places].astype(np.float32), _SHARES)


@lru_cache(maxsize=8)
def _places(height: int, width: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows (rows, 1) and columns (1, columns) of the pixels that are looked at."""
    rows = ((np.arange(_ROWS) + 0.5) * height / _ROWS).astype(np.intp)
    columns = ((np.arange(_COLUMNS) + 0.5) * width / _COLUMNS).astype(np.intp)
    return rows[:, None], columns[None]
