"""Time of a run: seconds of each stage, summed over threads, and waiting times of the queues between threads."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class QueueWaits:
    """Waiting times of a queue between two threads."""

    starved: float
    """Seconds that its reader waited for items."""
    full: float
    """Seconds that its writer waited for space."""


STAGES = ("decode", "detect", "crop", "landmarks", "smooth", "write")
"""Names of the stages of a pipeline."""


class Stopwatch:
    """Adds up the seconds of stages by name, over all threads.

    Example:
        watch = Stopwatch()
        with watch("detect"):
            detections = detector.detect(frames)
        print(watch.seconds["detect"])
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._waits: dict[str, QueueWaits] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a `with` block as part of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            with self._lock:
                self._seconds[stage] += seconds

    def time_items(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Yield the same items, and time how long each takes to arrive as part of a stage."""
        iterator = iter(items)
        while True:
            with self(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def add_waits(self, queue: str, starved: float, full: float) -> None:
        """Record the waiting times of a queue that has ended."""
        self._waits[queue] = QueueWaits(starved, full)

    @property
    def waits(self) -> Mapping[str, QueueWaits]:
        """Waiting times of each queue."""
        return dict(self._waits)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of each stage so far."""
        return dict(self._seconds)
