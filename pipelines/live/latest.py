"""A slot for the latest item: a new item replaces one that has not been taken, so nothing queues up."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Passes the latest item from one thread to another.

    Attributes:
        replaced: Number of items that were replaced before they were taken.

    Example:
        latest: Latest[Frame] = Latest()
        latest.put(frame)  # in the writer's thread
        frame = latest.take(timeout=0.1)  # in the reader's thread
    """

    def __init__(self) -> None:
        self._item: T | None = None
        self._changed = threading.Condition()
        self._closed = False
        self.replaced = 0

    def put(self, item: T) -> None:
        """Store an item in place of the previous one."""
        with self._changed:
            self.replaced += self._item is not None
            self._item = item
            self._changed.notify()

    def take(self, timeout: float | None = None) -> T | None:
        """Remove and return the item, waiting for one if necessary.

        Args:
            timeout: Longest wait in seconds; None waits until an item arrives or the slot is closed.

        Returns:
            The item; None after the timeout, or if the slot is empty and closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout)
            item, self._item = self._item, None
            return item

    def close(self) -> None:
        """Declare that no more items will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no more items will be put; one may still be there to take."""
        return self._closed
