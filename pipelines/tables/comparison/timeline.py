"""What a comparison remembers of the course of a video: figures of each stretch of time, and the worst frames."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vtrack.pipelines.tables.comparison.statistics import DistanceHistogram
from vtrack.types import FloatArray

_STRETCHES = 600
"""Stretches of time that are kept; where there would be more, two become one."""
_COARSE = 1.02
"""Width of the bins of distances in a stretch: quantiles are exact to 1 %."""


class Timeline:
    """Figures of stretches of time: of a second each, or of two, four … seconds for long videos."""

    def __init__(self) -> None:
        self._pixels, self._percent = (DistanceHistogram(_STRETCHES, _COARSE) for _ in range(2))
        self._only = np.zeros((2, _STRETCHES), np.int64)
        self._pairs = np.zeros(_STRETCHES, np.int64)
        self._start: float | None = None
        self._width = 1.0

    def place(self, time: float) -> int:
        """The stretch of a time."""
        if self._start is None:
            self._start = float(np.floor(time))
        while (time - self._start) / self._width >= _STRETCHES:
            self._halve()
        return max(int((time - self._start) / self._width), 0)

    def add_pair(self, time: float, pixels: FloatArray, percent: FloatArray) -> None:
        """Count the distances (points,) of a pair of faces, in pixels and in percent."""
        place = self.place(time)
        groups = np.full(len(pixels), place, np.intp)
        self._pairs[place] += 1
        self._pixels.add(groups, pixels)
        self._percent.add(groups, percent)

    def add_single(self, time: float, table: int, faces: int) -> None:
        """Count faces that one table alone has."""
        self._only[table, self.place(time)] += faces

    def stretches(self) -> list[dict[str, Any]]:
        """The figures of each stretch in which there is a face."""
        start = self._start or 0.0
        used = np.flatnonzero(self._pairs + self._only.sum(0))
        return [
            {
                "start_s": start + i * self._width,
                "end_s": start + (i + 1) * self._width,
                "matched": int(self._pairs[i]),
                "only_first": int(self._only[0, i]),
                "only_second": int(self._only[1, i]),
                "pixels": self._pixels.figures(i),
                "percent": self._percent.figures(i),
            }
            for i in used.tolist()
        ]

    def _halve(self) -> None:
        self._width *= 2
        self._pixels.halve()
        self._percent.halve()
        half = _STRETCHES // 2
        for counts in (self._pairs, *self._only):
            counts[:half] = counts[::2] + counts[1::2]
            counts[half:] = 0


@dataclass(frozen=True, eq=False, slots=True)
class WorstFrame:
    """A pair of faces that lie far apart."""

    frame: int
    time: float
    first: int
    """Id in the first table."""
    second: int
    percent: float
    """Mean distance of the points in percent of the unit."""
    pixels: float
    """The same in pixels."""
    part: str
    """The part that is farthest apart."""
    points: tuple[FloatArray, FloatArray]
    """(points, 2) of either table."""
    file: str = ""
    """Name of the photograph."""


@dataclass(slots=True)
class WorstFrames:
    """Keeps the worst frames, of a face at most one of each second of a video; of photographs all."""

    most: int
    _heap: list[tuple[float, int, int, WorstFrame]] = field(default_factory=list)
    _current: dict[int, WorstFrame] = field(default_factory=dict)
    """The worst frame of the present second of each face."""

    def add(self, frame: WorstFrame) -> None:
        """Take a frame into account, if it belongs to the worst."""
        ended = [face for face, old in self._current.items() if old.file or int(old.time) != int(frame.time)]
        for face in ended:
            self._push(self._current.pop(face))
        before = self._current.get(frame.first)
        if before is None or frame.percent > before.percent:
            self._current[frame.first] = frame

    def listed(self) -> list[WorstFrame]:
        """The worst frames, the worst first."""
        for frame in self._current.values():
            self._push(frame)
        self._current.clear()
        return [frame for *_, frame in sorted(self._heap, key=lambda each: each[:3], reverse=True)]

    def _push(self, frame: WorstFrame) -> None:
        entry = (frame.percent, -frame.frame, -frame.first, frame)
        if len(self._heap) < self.most:
            heapq.heappush(self._heap, entry)
        elif self.most and entry[:3] > self._heap[0][:3]:
            heapq.heapreplace(self._heap, entry)
