"""Threads that overlap decoding and writing with what is between: bounded, honest about errors, always joined.

`Ahead` runs an iterable in a thread, a few items ahead of its reader. `Behind` runs a function in a thread, a few items
behind its caller. Both are context managers: leaving one, for whatever reason, ends its thread. An error in a thread is
raised in the thread that waits for it.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

_POLL = 0.1
"""Seconds between two looks at the stop event while waiting."""


class _Ended(Exception):
    """Nothing more will come through the channel."""


class _Channel(Generic[T]):
    """A bounded queue with an end: `finish` lets the reader empty it, `close` ends both sides at once."""

    def __init__(self, depth: int) -> None:
        self.starved, self.full = 0.0, 0.0
        """Seconds that the reader waited for items, and the writer for room."""
        self._items: deque[T] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._finished = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Add an item, waiting for room; False once the channel has ended."""
        with self._changed:
            if len(self._items) >= self._depth:
                began = time.perf_counter()
                self._changed.wait_for(lambda: self._finished or len(self._items) < self._depth)
                self.full += time.perf_counter() - began
            if self._finished:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, stop: threading.Event | None = None) -> T:
        """The oldest item. At the end, or once `stop` is set: the error it ended with, or `_Ended`."""
        with self._changed:
            began = time.perf_counter()
            while not self._items and not self._finished:
                if stop is not None and stop.is_set():
                    raise _Ended
                self._changed.wait(None if stop is None else _POLL)
                self.starved += time.perf_counter() - began
                began = time.perf_counter()
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise _Ended

    def finish(self, error: BaseException | None = None) -> None:
        """No more items; the reader gets what is left, then the error."""
        with self._changed:
            self._finished = True
            self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """End now and drop what is left."""
        with self._changed:
            self._items.clear()
        self.finish()

    @property
    def error(self) -> BaseException | None:
        """What the channel ended with."""
        return self._error


class Ahead(Generic[T]):
    """Iterates over `items` in a thread, at most `depth` items ahead of whoever iterates over this."""

    def __init__(self, items: Iterable[T], depth: int, stop: threading.Event | None = None) -> None:
        self._items = items
        self._stop = stop
        self._channel: _Channel[T] = _Channel(depth)
        self._thread = threading.Thread(target=self._work, name="vtrack-ahead", daemon=True)

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds that the reader waited for items, and the thread for room."""
        return self._channel.starved, self._channel.full

    def _work(self) -> None:
        iterator = iter(self._items)
        try:
            for item in iterator:
                if not self._channel.put(item):
                    break
            # A generator is closed by the thread that runs it, not by whoever happens to collect it.
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            self._channel.finish()
        except BaseException as error:  # noqa: BLE001  it is raised again, in the reader's thread
            self._channel.finish(error)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._stop is not None and self._stop.is_set():
            raise StopIteration
        try:
            return self._channel.get(self._stop)
        except _Ended:
            raise StopIteration from None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._thread.join()


class Behind(Generic[T]):
    """Hands items to `consume` in a thread, at most `depth` items waiting.

    Leaving normally waits until all are consumed; leaving by an exception drops the waiting ones.
    """

    def __init__(self, consume: Callable[[T], object], depth: int) -> None:
        self._consume = consume
        self._channel: _Channel[T] = _Channel(depth)
        self._thread = threading.Thread(target=self._work, name="vtrack-behind", daemon=True)

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds that the thread waited for items, and the caller for room."""
        return self._channel.starved, self._channel.full

    def _work(self) -> None:
        try:
            while True:
                self._consume(self._channel.get())
        except _Ended:
            pass
        except BaseException as error:  # noqa: BLE001  it is raised again, in the caller's thread
            self._channel.finish(error)

    def put(self, item: T) -> None:
        """Hand over one item; raises the consumer's error once it has failed."""
        if not self._channel.put(item) and self._channel.error is not None:
            raise self._channel.error

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.drop()

    def start(self) -> Self:
        """What entering does, for those who leave elsewhere: by `finish` or `drop`."""
        self._thread.start()
        return self

    def finish(self) -> None:
        """Wait until all are consumed; raises the consumer's error."""
        self._channel.finish()
        self._thread.join()
        if self._channel.error is not None:
            raise self._channel.error

    def drop(self) -> None:
        """End now, whatever waits; may be called more than once, and after `finish`."""
        self._channel.close()
        self._thread.join()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets, so that a run can end in good order; the second interrupts as usual.

    Python takes signals in the main thread only; elsewhere the event is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = signal.getsignal(signal.SIGINT)

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
