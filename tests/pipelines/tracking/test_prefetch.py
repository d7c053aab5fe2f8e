"""What is found in frames by a thread that is asked ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from vtrack.pipelines.tracking.prefetch import Lookout
from vtrack.types import Frame


class Slow:
    """Waits for permission, and notes who asked for what."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.threads: set[int] = set()
        self.go = threading.Event()

    def __call__(self, frame: Frame) -> int:
        self.go.wait(5)
        self.calls.append(frame.index)
        self.threads.add(threading.get_ident())
        if frame.index == 13:
            raise ValueError("unlucky")
        return -frame.index


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def lookout(slow: Slow) -> Iterator[Lookout[int]]:
    lookout = Lookout(slow)
    yield lookout
    slow.go.set()
    lookout.close()


def frame(index: int) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), index, index, Fraction(1, 25))


def test_what_was_asked_ahead_is_found_once_and_beside_its_caller(lookout: Lookout[int], slow: Slow) -> None:
    lookout.ask(frame(1))
    lookout.ask(frame(1))
    lookout.ask(frame(2))
    slow.go.set()
    assert [lookout.found(frame(i)) for i in (2, 1, 3)] == [-2, -1, -3]
    assert slow.calls == [1, 2, 3]
    assert len(slow.threads) == 1
    assert threading.get_ident() not in slow.threads


def test_what_is_forgotten_in_time_is_not_looked_for(lookout: Lookout[int], slow: Slow) -> None:
    for i in (1, 2, 3):
        lookout.ask(frame(i))
    lookout.forget(frame(2))
    lookout.forget(frame(7))
    slow.go.set()
    assert lookout.found(frame(3)) == -3
    assert slow.calls == [1, 3]


def test_an_error_meets_whoever_wants_the_frame(lookout: Lookout[int], slow: Slow) -> None:
    slow.go.set()
    lookout.ask(frame(13))
    assert lookout.found(frame(14)) == -14
    with pytest.raises(ValueError, match="unlucky"):
        lookout.found(frame(13))
