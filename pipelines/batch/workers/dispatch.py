"""The dispatch loop of a batch: gives each worker one job at a time and replaces workers that die or hang.

`WorkerPool.run` is the loop. Subclasses provide the transport: how a worker is started, gets a job and reports back. `pool`
does it with processes of this machine, `cluster` with actors of a Ray cluster.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from vtrack.errors import VTrackError

Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Job = TypeVar("Job")
Result = TypeVar("Result")

Report = Callable[[int, int | None], object]
"""Reports the progress of a job: frames done, and frames expected if known. Each call also shows that the worker is alive."""

POLL_INTERVAL = 0.25
"""Seconds between two checks of timeouts and of the stop event."""
START_TIMEOUT = 300.0
"""Seconds that a worker may take to load its models, even if the timeout of jobs is shorter."""
_PAUSE = 8 * POLL_INTERVAL
"""Seconds between two looks at the workers from which on the pool itself stood still."""


class WorkerStartError(VTrackError):
    """Workers died while they loaded what they need."""


class Work(Protocol[Job_contra, Result_co]):
    """What workers do; sent to them by pickling."""

    def prepare(self) -> Callable[[Job_contra, Report], Result_co]:
        """Load what is needed, once per worker, and return the function that does one job."""
        ...


@dataclass(frozen=True, slots=True)
class Started(Generic[Job]):
    """A worker started a job."""

    worker: int
    job: Job


@dataclass(frozen=True, slots=True)
class Progress:
    """A worker reported the progress of its job."""

    worker: int
    frames: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class Finished(Generic[Job, Result]):
    """A job ended, with a result or with the loss of its worker."""

    worker: int
    job: Job
    result: Result | None
    lost: str = ""
    """Why there is no result: the worker died or was ended."""
    stalled: bool = False
    """Whether the worker was ended for want of progress."""
    machine_lost: bool = False
    """Whether the worker's machine may be at fault, so that the job is worth a retry on another one."""


Event = Started[Any] | Progress | Finished[Any, Any]


@dataclass(eq=False, kw_only=True)
class PoolWorker(Generic[Job]):
    """The pool's side of one worker."""

    number: int
    ready: bool = False
    """Whether its models are loaded."""
    job: Job | None = None
    last_progress: float = field(default_factory=time.monotonic)
    """Time of its last sign of progress, in seconds of the monotonic clock."""


AnyWorker = TypeVar("AnyWorker", bound=PoolWorker[Any])


class WorkerPool(ABC, Generic[Job, Result, AnyWorker]):
    """Workers that each do one job at a time.

    Args:
        workers: Number of workers.
        timeout: Seconds without progress after which a job's worker is ended.
    """

    max_failed_starts = 1
    """Workers in a row that may die while loading before the run is given up."""

    def __init__(self, *, workers: int, timeout: float) -> None:
        self._count = workers
        self._timeout = timeout
        self._workers: list[AnyWorker] = []
        self._failed_starts = 0
        self._last_look = time.monotonic()

    def run(self, waiting: deque[Job], stop: threading.Event) -> Generator[Event, None, None]:
        """Do jobs in order and yield events.

        The caller may add jobs to `waiting` between two events. Closing the generator, or an error, kills all workers.

        Args:
            waiting: Jobs to do; emptied on the way.
            stop: Once set, running jobs are finished and no more are started.

        Raises:
            WorkerStartError: Workers die before they can work.
            VTrackError: They cannot load what they need.
        """
        self._last_look = time.monotonic()
        try:
            while True:
                if stop.is_set():
                    waiting.clear()
                self._start_workers(len(waiting))
                for worker in self._workers:
                    if worker.ready and worker.job is None and waiting:
                        worker.job, worker.last_progress = waiting.popleft(), time.monotonic()
                        self._send(worker, worker.job)
                        yield Started(worker.number, worker.job)
                if not waiting and all(worker.job is None for worker in self._workers):
                    return
                yield from self._receive()
        finally:
            for worker in self._workers:
                self._kill(worker)
            self._workers.clear()

    @abstractmethod
    def _start(self, number: int) -> AnyWorker:
        """Start a worker; it becomes `ready` later."""

    @abstractmethod
    def _send(self, worker: AnyWorker, job: Job) -> None:
        """Send a job to a worker. If the worker has just died, `_receive` notices."""

    @abstractmethod
    def _receive(self) -> Iterator[Event]:
        """Wait up to `POLL_INTERVAL` seconds for messages of workers; ends those that died or hang by `_lose`."""

    @abstractmethod
    def _kill(self, worker: AnyWorker) -> None:
        """End a worker at once; harmless if it is dead."""

    def _start_workers(self, waiting: int) -> None:
        """Start workers until there is one for each running and waiting job, up to the pool's size."""
        busy = sum(worker.job is not None for worker in self._workers)
        while len(self._workers) < min(self._count, busy + waiting):
            taken = {worker.number for worker in self._workers}
            self._workers.append(self._start(next(number for number in range(self._count) if number not in taken)))

    def _limit(self, worker: AnyWorker) -> float:
        """Seconds that a worker may be silent."""
        if not worker.ready:
            return max(self._timeout, START_TIMEOUT)
        return math.inf if worker.job is None else self._timeout

    def _is_stalled(self, worker: AnyWorker) -> bool:
        """Whether a worker has been silent for too long.

        Time in which the pool itself stood still does not count: Ctrl-Z stops both, and a caller may take long over an event.
        """
        now = time.monotonic()
        if (pause := now - self._last_look) > _PAUSE:
            for each in self._workers:
                each.last_progress = min(each.last_progress + pause, now)
        self._last_look = now
        return now - worker.last_progress > self._limit(worker)

    def _set_ready(self, worker: AnyWorker) -> None:
        worker.ready, self._failed_starts = True, 0

    def _finish(self, worker: AnyWorker, result: Result) -> Iterator[Event]:
        """Take the result of a worker's job."""
        job, worker.job = worker.job, None
        yield Finished(worker.number, job, result)

    def _lose(
        self, worker: AnyWorker, reason: str, *, is_stalled: bool = False, machine_lost: bool = False
    ) -> Iterator[Event]:
        """Remove a worker that died or hangs; its job, if it has one, ends without a result."""
        self._workers.remove(worker)
        self._kill(worker)
        if worker.job is not None:
            yield Finished(worker.number, worker.job, None, reason, is_stalled, machine_lost)
        elif not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= self.max_failed_starts:
                raise WorkerStartError(f"workers could not start: {reason}")


def stalled(seconds: float) -> str:
    """The reason for ending a worker without progress."""
    return f"no progress for {seconds:g} s; its worker was ended"
