"""Makes batches ahead of the training step: in a thread, or in processes for a GPU that is faster than one core."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

import cv2
from torch.utils import data

from vtrack.training.landmarks.batches import TrainingBatch

_AHEAD = 4
"""Largest number of batches that the thread makes ahead; a process makes two."""


def batches_ahead(
    make: Callable[[int], TrainingBatch], first: int, last: int, loaders: int = 0, *, pin: bool = False
) -> Iterator[TrainingBatch]:
    """Yield the batches of the steps first to last - 1, made while the model trains.

    Args:
        make: Makes the batch of a step.
        first: First step.
        last: Step after the last one.
        loaders: Number of processes that make batches; 0 for a thread. Processes give tensors in shared memory.
        pin: Put the tensors of processes into pinned memory, for asynchronous copies to a GPU.
    """
    if loaders:
        # One core per process. Set before the fork: OpenCV's threads do not survive it, and a child that has to stop them
        # would wait for ever.
        cv2.setNumThreads(1)
        yield from data.DataLoader(_Steps(make, first, last), batch_size=None, num_workers=loaders, pin_memory=pin)
    else:
        yield from _by_thread(make, first, last)


class _Steps(data.Dataset[TrainingBatch]):
    """The batches of some steps by number."""

    def __init__(self, make: Callable[[int], TrainingBatch], first: int, last: int) -> None:
        self._make, self._steps = make, range(first, last)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, place: int) -> TrainingBatch:
        return self._make(self._steps[place])


def _by_thread(make: Callable[[int], TrainingBatch], first: int, last: int) -> Iterator[TrainingBatch]:
    ready: queue.Queue[TrainingBatch | BaseException] = queue.Queue(_AHEAD)
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

    thread = threading.Thread(target=work, name="vtrack-batches", daemon=True)
    thread.start()
    try:
        for _ in range(first, last):
            batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        stop.set()
