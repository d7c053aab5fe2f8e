"""Worker processes that are lent one job at a time, and replaced when they die or hang.

A worker loads what it needs once and keeps it. Whatever happens to it - a crash in a decoder, a lack of memory, a hang -
happens to its one job. Workers die with the process that started them, however it ends.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import reduction
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar

from vtrack.errors import VTrackError

Job_contra = TypeVar("Job_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)
Job = TypeVar("Job")
Result = TypeVar("Result")

Report = Callable[[int, int | None], object]
"""Tells how far a job is: frames so far, and of how many if known. Each call also says: alive."""

_TICK = 0.25
"""Seconds between two looks at clocks and at the stop event."""
_REPORT_EVERY = 0.2
START = 300.0
"""Seconds that loading the models may take at least, whatever the limit for jobs is."""


class Work(Protocol[Job_contra, Result_co]):
    """What workers do; crosses into their processes by pickling."""

    def prepare(self) -> Callable[[Job_contra, Report], Result_co]:
        """Load what is needed, once for each worker; gives the function that does one job."""
        ...


@dataclass(frozen=True, slots=True)
class Started(Generic[Job]):
    """A worker began a job."""

    worker: int
    job: Job


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a worker is with its job."""

    worker: int
    frames: int
    expected: int | None


@dataclass(frozen=True, slots=True)
class Finished(Generic[Job, Result]):
    """A job came to its end. `lost` says why there is no result: the worker died or was ended."""

    worker: int
    job: Job
    result: Result | None
    lost: str = ""
    elsewhere: bool = False
    """Whether it may have been the machine's fault, so that it is worth trying on another."""


Event = Started[Any] | Progress | Finished[Any, Any]


@dataclass
class _Worker(Generic[Job]):
    """The pool's end of one worker."""

    number: int
    process: multiprocessing.process.BaseProcess
    connection: Connection
    job: Job | None = None
    ready: bool = False
    heard: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        """Kill it; harmless where it is dead already."""
        self.process.kill()
        self.process.join()
        self.connection.close()


class Pool(Generic[Job, Result]):
    """`workers` processes with `threads` cores each. `timeout` is for how many seconds a job may make no headway."""

    def __init__(self, work: Work[Job, Result], *, workers: int, threads: int, timeout: float) -> None:
        self._work = work
        self._count = workers
        self._threads = threads
        self._timeout = timeout
        self._workers: list[_Worker[Job]] = []
        self._context = multiprocessing.get_context("spawn")

    def run(self, waiting: deque[Job], stop: threading.Event, hold: Sequence[int] = ()) -> Generator[Event, None, None]:
        """Do the jobs in this order, telling what happens. After `stop` no more are begun.

        Whoever listens may add jobs to those that are waiting.
        `hold` are files that stay open as long as any worker lives. Breaking off, also by an error, kills all workers.
        """
        try:
            while True:
                if stop.is_set():
                    waiting.clear()
                busy = sum(worker.job is not None for worker in self._workers)
                while len(self._workers) < min(self._count, busy + len(waiting)):
                    self._workers.append(self._start(hold))
                for worker in self._workers:
                    if worker.ready and worker.job is None and waiting:
                        worker.job, worker.heard = waiting.popleft(), time.monotonic()
                        with suppress(OSError):  # one that died just now is found out when it is listened to
                            worker.connection.send(worker.job)
                        yield Started(worker.number, worker.job)
                if not waiting and all(worker.job is None for worker in self._workers):
                    return
                yield from self._listen()
        finally:
            for worker in self._workers:
                worker.end()
            self._workers.clear()

    def _start(self, hold: Sequence[int]) -> _Worker[Job]:
        taken = {worker.number for worker in self._workers}
        number = next(number for number in range(self._count) if number not in taken)
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve,
            args=(self._work, theirs, self._threads, [_Held(file) for file in hold]),
            name=f"vtrack-worker-{number}",
            daemon=True,
        )
        with deaf_to_interrupts():
            process.start()
        theirs.close()
        return _Worker(number, process, ours)

    def _listen(self) -> Iterator[Event]:
        """What workers have to say within a tick; ends those that died or hang."""
        ready = wait([worker.connection for worker in self._workers], _TICK)
        for worker in list(self._workers):
            lost = ""
            if worker.connection in ready:
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    lost = _epitaph(worker.process)
                else:
                    worker.heard = time.monotonic()
                    yield from self._heed(worker, message)
            elif time.monotonic() - worker.heard > (limit := self._patience(worker)):
                lost = f"no headway for {limit:g} s; its worker was ended (--timeout)"
            if lost:
                self._workers.remove(worker)
                worker.end()
                if worker.job is None:
                    if not worker.ready:
                        raise VTrackError(f"a worker could not start: {lost}")
                    continue
                yield Finished(worker.number, worker.job, None, lost)

    def _patience(self, worker: _Worker[Job]) -> float:
        """For how many seconds this worker may say nothing."""
        if not worker.ready:
            return max(self._timeout, START)
        return math.inf if worker.job is None else self._timeout

    def _heed(self, worker: _Worker[Job], message: Any) -> Iterator[Event]:
        if isinstance(message, VTrackError):
            raise message
        if isinstance(message, _Ready):
            worker.ready = True
        elif isinstance(message, Progress):
            yield Progress(worker.number, message.frames, message.expected)
        else:
            job, worker.job = worker.job, None
            yield Finished(worker.number, job, message)


class _Ready:
    """A worker has loaded everything."""


class _Held:
    """An open file that a worker inherits and never closes."""

    def __init__(self, file: int) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherit, (reduction.DupFd(self.file),)


def _inherit(file: Any) -> _Held:
    return _Held(file.detach())


def _serve(work: Work[Any, Any], connection: Connection, threads: int, held: Sequence[_Held]) -> None:
    """The life of a worker process."""
    begin(threads)
    try:
        do = work.prepare()
    except VTrackError as error:
        connection.send(error)
        return
    connection.send(_Ready())
    said = 0.0

    def report(frames: int, expected: int | None) -> None:
        nonlocal said
        if time.monotonic() - said >= _REPORT_EVERY:
            said = time.monotonic()
            connection.send(Progress(0, frames, expected))

    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(do(job, report))


def begin(threads: int) -> None:
    """What a process of a batch does first: it will end with the one that started it, and use so many threads."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    # Before torch and NumPy are loaded: they read it then.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENCV_FOR_THREADS_NUM"] = str(threads)


def _die_with_parent() -> None:
    """A worker without a parent would write beside the next run's."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def deaf_to_interrupts() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, which a terminal sends to all; their parent decides."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _epitaph(process: multiprocessing.process.BaseProcess) -> str:
    """How a worker died."""
    process.join()
    code = process.exitcode or 0
    if code >= 0:
        return f"its worker ended with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"its worker was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
