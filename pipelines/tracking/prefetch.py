"""What is found in single frames, by a thread of its own that is asked ahead of time.

Whoever follows faces knows which frame they will want searched long before it is there, and has other work until then.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from vtrack.types import Frame

T = TypeVar("T")


class Lookout(Generic[T]):
    """Runs `find` on frames, one at a time and always in the same thread: detectors need not bear several."""

    def __init__(self, find: Callable[[Frame], T]) -> None:
        self._find = find
        self._thread = ThreadPoolExecutor(1, "vtrack-lookout")
        self._asked: dict[int, Future[T]] = {}

    def ask(self, frame: Frame) -> None:
        """Begin with a frame that will probably be wanted."""
        if frame.index not in self._asked:
            self._asked[frame.index] = self._thread.submit(self._find, frame)

    def found(self, frame: Frame) -> T:
        """What there is in a frame."""
        self.ask(frame)
        return self._asked.pop(frame.index).result()

    def forget(self, frame: Frame) -> None:
        """A frame is not wanted after all."""
        asked = self._asked.pop(frame.index, None)
        if asked is not None:
            asked.cancel()

    def close(self) -> None:
        """End the thread; nothing can be asked any more then."""
        self._thread.shutdown(cancel_futures=True)
