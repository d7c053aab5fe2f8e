"""Prefetching: results are computed once, in one thread, in the order of the requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from vtrack.pipelines.tracking.prefetch import Prefetcher
from vtrack.types import Frame


class SlowFunction:
    """A function that waits for `go` and records its calls and threads."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.threads: set[int] = set()
        self.go = threading.Event()

    def __call__(self, frame: Frame) -> int:
        self.go.wait(120)
        self.calls.append(frame.index)
        self.threads.add(threading.get_ident())
        if frame.index == 13:
            raise ValueError("unlucky")
        return -frame.index


@pytest.fixture
def slow() -> SlowFunction:
    return SlowFunction()


@pytest.fixture
def prefetcher(slow: SlowFunction) -> Iterator[Prefetcher[int]]:
    prefetcher = Prefetcher(slow)
    yield prefetcher
    slow.go.set()
    prefetcher.close()


def frame(index: int) -> Frame:
    return Frame(np.zeros((4, 4, 3), np.uint8), index, index, Fraction(1, 25))


def test_requests_run_once_in_order_in_another_thread(prefetcher: Prefetcher[int], slow: SlowFunction) -> None:
    prefetcher.request(frame(1))
    prefetcher.request(frame(1))
    prefetcher.request(frame(2))
    slow.go.set()
    assert [prefetcher.result(frame(i)) for i in (2, 1, 3)] == [-2, -1, -3]
    assert slow.calls == [1, 2, 3]
    assert len(slow.threads) == 1
    assert threading.get_ident() not in slow.threads


def test_a_cancelled_request_does_not_run(prefetcher: Prefetcher[int], slow: SlowFunction) -> None:
    for i in (1, 2, 3):
        prefetcher.request(frame(i))
    prefetcher.cancel(frame(2))
    prefetcher.cancel(frame(7))
    slow.go.set()
    assert prefetcher.result(frame(3)) == -3
    assert slow.calls == [1, 3]


def test_an_error_is_raised_with_the_result_of_its_frame(prefetcher: Prefetcher[int], slow: SlowFunction) -> None:
    slow.go.set()
    prefetcher.request(frame(13))
    assert prefetcher.result(frame(14)) == -14
    with pytest.raises(ValueError, match="unlucky"):
        prefetcher.result(frame(13))
