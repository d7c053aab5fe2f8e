"""Where the time of a run goes: seconds of each stage, in whatever thread it works, and how long threads waited."""

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
class Waits:
    """What happened at a queue between two threads."""

    starved: float
    """Seconds that its reader waited for something to do."""
    full: float
    """Seconds that its writer waited for room."""


STAGES = ("decode", "detect", "crop", "landmarks", "smooth", "write")


class Stopwatch:
    """Adds up the seconds of stages by name, over all threads that work on them."""

    def __init__(self) -> None:
        self._adding = threading.Lock()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._waits: dict[str, Waits] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside the `with`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - began
            with self._adding:
                self._seconds[stage] += seconds

    def each(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """The same items; the time that each takes to come is the stage's."""
        iterator = iter(items)
        while True:
            with self(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def waits(self, queue: str, starved: float, full: float) -> None:
        """Note the waiting at a queue, once it has ended."""
        self._waits[queue] = Waits(starved, full)

    @property
    def waited(self) -> Mapping[str, Waits]:
        """The waiting at each queue."""
        return dict(self._waits)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds of each stage so far."""
        return dict(self._seconds)
