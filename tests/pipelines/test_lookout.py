"""The detector that is asked ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest

from pipelines.lookout import Lookout
from pipelines.stopwatch import Stopwatch
from vtrack.types import Detections, Frame


class Slow:
    """Waits for permission, and notes who asked for what."""

    name, sure = "slow", 0.0

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.threads: set[int] = set()
        self.go = threading.Event()

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        self.go.wait(5)
        self.calls += [frame.index for frame in frames]
        self.threads.add(threading.get_ident())
        if any(frame.index == 13 for frame in frames):
            raise ValueError("unlucky")
        return [Detections.none() for _ in frames]


@pytest.fixture
def detector() -> Slow:
    return Slow()


@pytest.fixture
def lookout(detector: Slow) -> Iterator[Lookout]:
    lookout = Lookout(detector, Stopwatch())
    yield lookout
    detector.go.set()
    lookout.close()


def frame(index: int) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), index, index, Fraction(1, 25))


def test_what_was_asked_ahead_is_detected_once_and_beside_its_caller(lookout: Lookout, detector: Slow) -> None:
    lookout.ask(frame(1))
    lookout.ask(frame(1))
    lookout.ask(frame(2))
    detector.go.set()
    assert [len(lookout.detect(frame(i))) for i in (2, 1, 3)] == [0, 0, 0]
    assert detector.calls == [1, 2, 3]
    assert len(detector.threads) == 1 and threading.get_ident() not in detector.threads


def test_what_is_forgotten_in_time_is_not_detected(lookout: Lookout, detector: Slow) -> None:
    for i in (1, 2, 3):
        lookout.ask(frame(i))
    lookout.forget(frame(2))
    lookout.forget(frame(7))
    detector.go.set()
    lookout.detect(frame(3))
    assert detector.calls == [1, 3]


def test_an_error_meets_whoever_wants_the_frame(lookout: Lookout, detector: Slow) -> None:
    detector.go.set()
    lookout.ask(frame(13))
    assert len(lookout.detect(frame(14))) == 0
    with pytest.raises(ValueError, match="unlucky"):
        lookout.detect(frame(13))
