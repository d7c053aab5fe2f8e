"""Worker processes of this machine.

A worker loads its models once. A crash, a lack of memory or a hang costs only the job that it was doing. Workers end when the
process that started them ends, however that happens.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import reduction, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.util import Finalize
from typing import Any, Generic

from vtrack.errors import VTrackError
from vtrack.pipelines.batch.workers.dispatch import (
    POLL_INTERVAL,
    Event,
    Job,
    PoolWorker,
    Progress,
    Result,
    Work,
    WorkerPool,
    stalled,
)
from vtrack.runtime.threads import ENDING_SIGNALS

_REPORT_INTERVAL = 0.2
"""Seconds between two progress messages of a worker, at least."""


@dataclass(eq=False, kw_only=True)
class _ProcessWorker(PoolWorker[Job], Generic[Job]):
    """A worker process and the connection to it."""

    process: multiprocessing.process.BaseProcess
    connection: Connection


class ProcessPool(WorkerPool[Job, Result, _ProcessWorker[Job]]):
    """Worker processes of this machine.

    Args:
        work: What the workers do.
        workers: Number of processes.
        threads: Threads that each may use.
        timeout: Seconds without progress after which a job's worker is ended.
        inherited_files: File descriptors that stay open as long as any worker lives.
    """

    def __init__(
        self,
        work: Work[Job, Result],
        *,
        workers: int,
        threads: int,
        timeout: float,
        inherited_files: Sequence[int] = (),
    ) -> None:
        super().__init__(workers=workers, timeout=timeout)
        self._work = work
        self._threads = threads
        self._files = [_InheritedFile(file) for file in inherited_files]
        self._context = multiprocessing.get_context("spawn")

    def _start(self, number: int) -> _ProcessWorker[Job]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve,
            args=(self._work, theirs, self._threads, self._files),
            name=f"vtrack-worker-{number}",
            daemon=True,
        )
        start_process(process)
        theirs.close()
        return _ProcessWorker(number=number, process=process, connection=ours)

    def _send(self, worker: _ProcessWorker[Job], job: Job) -> None:
        with suppress(OSError):  # it has just died
            worker.connection.send(job)

    def _receive(self) -> Iterator[Event]:
        ready = wait([worker.connection for worker in self._workers], POLL_INTERVAL)
        for worker in [*self._workers]:
            is_stalled = self._is_stalled(worker)
            if worker.connection in ready:
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    yield from self._lose(worker, _exit_reason(worker.process))
                else:
                    worker.last_progress = time.monotonic()
                    yield from self._handle(worker, message)
            elif is_stalled and not wait([worker.connection], 0):  # nor has it answered meanwhile
                yield from self._lose(worker, stalled(self._limit(worker)), is_stalled=True)

    def _handle(self, worker: _ProcessWorker[Job], message: Any) -> Iterator[Event]:
        if isinstance(message, VTrackError):
            raise message
        if isinstance(message, _Ready):
            self._set_ready(worker)
        elif isinstance(message, Progress):
            yield Progress(worker.number, message.frames, message.expected)
        else:
            yield from self._finish(worker, message)

    def _kill(self, worker: _ProcessWorker[Job]) -> None:
        worker.process.kill()
        worker.process.join()
        worker.connection.close()


class _Ready:
    """Message of a worker that has loaded its models."""


class _InheritedFile:
    """An open file that a worker inherits and never closes."""

    def __init__(self, file: int) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return _inherit, (reduction.DupFd(self.file),)


def _inherit(file: Any) -> _InheritedFile:
    return _InheritedFile(file.detach())


def _serve(work: Work[Any, Any], connection: Connection, threads: int, files: Sequence[_InheritedFile]) -> None:
    """Main function of a worker process."""
    init_process(threads)
    try:
        do_job = work.prepare()
    except VTrackError as error:
        connection.send(error)
        return
    connection.send(_Ready())
    last_report = 0.0

    def report(frames: int, expected: int | None) -> None:
        nonlocal last_report
        if time.monotonic() - last_report >= _REPORT_INTERVAL:
            last_report = time.monotonic()
            connection.send(Progress(0, frames, expected))

    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(do_job(job, report))


def init_process(threads: int) -> None:
    """Set up a process of a batch: it ends together with its parent and uses at most `threads` threads."""
    threading.Thread(target=_exit_with_parent, name="vtrack-parent", daemon=True).start()
    set_threads(threads)


def set_threads(threads: int) -> None:
    """Limit the threads of torch, NumPy and OpenCV; works only before they are imported."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENCV_FOR_THREADS_NUM"] = str(threads)


def _exit_with_parent() -> None:
    """Exit when the parent does: a worker without a parent would write the same files as the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def start_process(process: multiprocessing.process.BaseProcess) -> None:
    """Start a process that ignores `ENDING_SIGNALS`, which terminals and systemd send to all; its parent ends it.

    The parent kills it at the end, at the latest, wherever an interrupt struck: it ignores multiprocessing's SIGTERM, too.
    """
    with _ignoring_interrupts():
        process.start()
        Finalize(None, process.kill, exitpriority=0)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Hold `ENDING_SIGNALS` back, also from processes that are started meanwhile."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # by the first start of a process, which would let SIGINT and SIGTERM through again
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def _exit_reason(process: multiprocessing.process.BaseProcess) -> str:
    """Why a worker process ended."""
    process.join()
    code = process.exitcode or 0
    if code >= 0:
        return f"its worker exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"its worker was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
