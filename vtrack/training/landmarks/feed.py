"""Batches made ahead of the model: by a thread, or by processes where a GPU learns faster than one core can draw."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import cv2
from torch.utils import data

from vtrack.training.landmarks.batches import Batch

_AHEAD = 4
"""Batches that wait ready, at most; of each process two."""


def fed(make: Callable[[int], Batch], first: int, last: int, loaders: int = 0, *, pin: bool = False) -> Iterator[Batch]:
    """Batches of the steps first..last-1, made while the model learns: `loaders` processes do so, or a thread if 0.

    From processes arrays come as tensors, in memory that is shared and, with `pin`, that a GPU reads by itself.
    """
    if loaders:
        # Each process is to keep to one core. Told before they part: OpenCV's threads do not outlive a fork, and a child that
        # has to stop them waits for ever.
        cv2.setNumThreads(1)
        yield from data.DataLoader(_Steps(make, first, last), batch_size=None, num_workers=loaders, pin_memory=pin)
    else:
        yield from _by_thread(make, first, last)


class _Steps(data.Dataset[Batch]):
    """The batches of some steps by number."""

    def __init__(self, make: Callable[[int], Batch], first: int, last: int) -> None:
        self._make, self._steps = make, range(first, last)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, place: int) -> Batch:
        return self._make(self._steps[place])


def _by_thread(make: Callable[[int], Batch], first: int, last: int) -> Iterator[Batch]:
    ready: queue.Queue[Batch | BaseException] = queue.Queue(_AHEAD)
    stop = threading.Event()

    def work() -> None:
        try:
            for step in range(first, last):
                batch = make(step)
                while not stop.is_set():
                    try:
                        ready.put(batch, timeout=0.5)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised again where the batches are used
            ready.put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        for _ in range(first, last):
            batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stop.set()
