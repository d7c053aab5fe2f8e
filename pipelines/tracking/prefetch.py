"""Prefetching: work on single frames that starts in a thread before its results are needed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from vtrack.types import Frame

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Runs a function on requested frames, one at a time and in one thread: detectors need not be thread-safe.

    Args:
        function: Called with a frame and the options of its request, in the thread.
    """

    def __init__(self, function: Callable[..., T]) -> None:
        self._function = function
        self._thread = ThreadPoolExecutor(1, "vtrack-prefetch")
        self._futures: dict[int, Future[T]] = {}

    def request(self, frame: Frame, **options: bool) -> None:
        """Queue a frame whose result will probably be needed; a frame in the queue is not added again."""
        if frame.index not in self._futures:
            self._futures[frame.index] = self._thread.submit(self._function, frame, **options)

    def result(self, frame: Frame) -> T:
        """Wait for the result of a frame, requested before or not; raises the function's error."""
        self.request(frame)
        return self._futures.pop(frame.index).result()

    def cancel(self, frame: Frame) -> None:
        """Drop the request of a frame that is not needed after all."""
        future = self._futures.pop(frame.index, None)
        if future is not None:
            future.cancel()

    def close(self) -> None:
        """Drop all requests and end the thread."""
        self._thread.shutdown(cancel_futures=True)
