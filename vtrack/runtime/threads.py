"""Threads that overlap decoding and writing with the work between them.

`ReadAhead` iterates in a thread, a few items ahead of its reader. `WriteBehind` calls a function in a thread, a few items
behind its caller. Both are context managers that end and join their thread, and raise its errors in the caller's thread.
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

from vtrack.runtime.streams import leave_terminal

T = TypeVar("T")

_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, *((_HANGUP,) if _HANGUP is not None else ()))
"""What asks a process to end; Windows has no SIGHUP."""
_POLL = 0.1
"""Seconds between two checks of the stop event while waiting."""


class _ChannelEnded(Exception):
    """The channel has ended."""


class _Channel(Generic[T]):
    """A bounded queue that can be ended: `finish` lets the reader take what is left, `close` drops it."""

    def __init__(self, depth: int) -> None:
        self.starved, self.full = 0.0, 0.0
        """Seconds that the reader waited for items, and the writer for space."""
        self._items: deque[T] = deque()
        self._depth = depth
        self._changed = threading.Condition()
        self._finished = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Add an item, waiting for space; return False if the channel has ended."""
        with self._changed:
            if len(self._items) >= self._depth:
                start = time.perf_counter()
                self._changed.wait_for(lambda: self._finished or len(self._items) < self._depth)
                self.full += time.perf_counter() - start
            if self._finished:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self, stop: threading.Event | None = None) -> T:
        """Take the oldest item; at the end, or once `stop` is set, raise the writer's error or `_ChannelEnded`."""
        with self._changed:
            start = time.perf_counter()
            while not self._items and not self._finished:
                if stop is not None and stop.is_set():
                    raise _ChannelEnded
                self._changed.wait(None if stop is None else _POLL)
                self.starved += time.perf_counter() - start
                start = time.perf_counter()
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise _ChannelEnded

    def finish(self, error: BaseException | None = None) -> None:
        """End the channel; the reader gets the remaining items, then the error."""
        with self._changed:
            self._finished = True
            self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """End the channel and drop the remaining items."""
        with self._changed:
            self._items.clear()
        self.finish()

    @property
    def error(self) -> BaseException | None:
        """The error that the channel ended with."""
        return self._error


class ReadAhead(Generic[T]):
    """Iterates over items in a thread, ahead of its reader.

    Args:
        items: The items; a generator is closed in its own thread.
        depth: Largest number of items that wait for the reader.
        stop: Event that ends the iteration early.
        abandon: Called when the reader leaves, to end a wait of the items.

    Example:
        with ReadAhead(source, depth=8) as frames:
            for frame in frames:
                process(frame)
    """

    def __init__(
        self,
        items: Iterable[T],
        depth: int,
        stop: threading.Event | None = None,
        abandon: Callable[[], object] = lambda: None,
    ) -> None:
        self._items, self._abandon = items, abandon
        self._stop = stop
        self._channel: _Channel[T] = _Channel(depth)
        self._thread = threading.Thread(target=self._work, name="vtrack-ahead", daemon=True)

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds that the reader waited for items, and the thread for space."""
        return self._channel.starved, self._channel.full

    def _work(self) -> None:
        iterator = iter(self._items)
        try:
            for item in iterator:
                if not self._channel.put(item):
                    break
            # A generator is closed in the thread that runs it, not in the one that collects it as garbage.
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            self._channel.finish()
        except BaseException as error:  # noqa: BLE001  raised again in the reader's thread
            self._channel.finish(error)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._stop is not None and self._stop.is_set():
            raise StopIteration
        try:
            return self._channel.get(self._stop)
        except _ChannelEnded:
            raise StopIteration from None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()
        self._abandon()
        self._thread.join()


class WriteBehind(Generic[T]):
    """Calls a function on items in a thread, behind its caller.

    Leaving the context waits until all items are consumed; leaving it by an exception drops those that wait.

    Args:
        consume: Called with each item, in order.
        depth: Largest number of items that wait to be consumed.

    Example:
        with WriteBehind(sink.write, depth=8) as queue:
            for result in results:
                queue.put(result)
    """

    def __init__(self, consume: Callable[[T], object], depth: int) -> None:
        self._consume = consume
        self._channel: _Channel[T] = _Channel(depth)
        self._thread = threading.Thread(target=self._work, name="vtrack-behind", daemon=True)

    @property
    def waits(self) -> tuple[float, float]:
        """Seconds that the thread waited for items, and the caller for space."""
        return self._channel.starved, self._channel.full

    def _work(self) -> None:
        try:
            while True:
                self._consume(self._channel.get())
        except _ChannelEnded:
            pass
        except BaseException as error:  # noqa: BLE001  raised again in the caller's thread
            self._channel.finish(error)

    def put(self, item: T) -> None:
        """Add an item, waiting for space; raises the error of `consume` once it has failed."""
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
        """Start the thread; for callers without a `with` block, who end it by `finish` or `drop`."""
        self._thread.start()
        return self

    def finish(self) -> None:
        """Wait until all items are consumed; raises the error of `consume`."""
        self._channel.finish()
        self._thread.join()
        if self._channel.error is not None:
            raise self._channel.error

    def drop(self) -> None:
        """End the thread and drop waiting items; may be called repeatedly, and after `finish`."""
        self._channel.close()
        self._thread.join()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C, SIGTERM or SIGHUP sets, so that a run can end cleanly; the next Ctrl-C or SIGTERM
    interrupts at once.

    `timeout`, systemd, Docker and Slurm end a process with SIGTERM; a terminal that is closed sends SIGHUP, often more than
    once, unless `nohup` has the process ignore it. Python handles signals in the main thread only; in other threads the event
    is never set.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    if _HANGUP is not None and previous[_HANGUP] == signal.SIG_IGN:
        del previous[_HANGUP]

    def set_stop(number: int, frame: FrameType | None) -> None:
        if number == _HANGUP:
            leave_terminal()
        elif stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    for number in previous:
        signal.signal(number, set_stop)
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
