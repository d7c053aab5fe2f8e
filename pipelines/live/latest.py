"""A place for the newest of something: nothing queues up, so nothing gets old."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Newest(Generic[T]):
    """Holds one item. A newer one takes its place; a reader waits for one that nobody has taken."""

    def __init__(self) -> None:
        self._item: T | None = None
        self._changed = threading.Condition()
        self._closed = False
        self.replaced = 0
        """How many items nobody took."""

    def put(self, item: T) -> None:
        """Leave an item; one that is still there is forgotten."""
        with self._changed:
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify()

    def take(self, timeout: float | None = None) -> T | None:
        """The newest item, waiting for it; None after `timeout` seconds or once there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """There will be no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether there will be no more; one item may be left to take."""
        return self._closed
