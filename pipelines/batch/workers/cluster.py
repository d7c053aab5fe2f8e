"""Workers on many machines: actors of a Ray cluster take the place of worker processes.

A running cluster is joined, never started; `ray start` does that. Each actor has one GPU, or some cores if there are no GPUs,
and loads the models once. A job whose machine dies is done again on another one.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Self

from vtrack.errors import MissingExtraError, SinkError, UsageError, VTrackError
from vtrack.pipelines.batch.lock import FolderLock
from vtrack.pipelines.batch.workers.dispatch import (
    POLL_INTERVAL,
    START_TIMEOUT,
    Event,
    Job,
    PoolWorker,
    Progress,
    Result,
    Work,
    WorkerPool,
    stalled,
)
from vtrack.pipelines.batch.workers.pool import set_threads

_CONNECT_TIMEOUT = 5.0
"""Seconds that a cluster may take to answer."""
_PROGRESS_INTERVAL = 1.0
"""Seconds between two requests for the progress of a job."""


class _Actor(Generic[Job, Result]):
    """Runs on a machine of the cluster."""

    def __init__(self, threads: int) -> None:
        set_threads(threads)
        self._progress: tuple[int, int, int | None] = (0, 0, None)

    def prepare(self, work: Work[Job, Result], lock: FolderLock | None) -> VTrackError | None:
        """Load the models; return an error if that fails, or if this machine does not see the output folder."""
        if lock is not None and not lock.is_visible():
            return SinkError(f"{platform.node()} does not share the folder {lock.path.parent} with this machine")
        try:
            self._do_job = work.prepare()
        except VTrackError as error:
            return error
        return None

    def do(self, job: Job) -> Result:
        """Do one job."""
        return self._do_job(job, self._report)

    def progress(self) -> tuple[int, int, int | None]:
        """Number of reports so far, and the last one: frames done and frames expected."""
        return self._progress

    def _report(self, frames: int, expected: int | None) -> None:
        self._progress = (self._progress[0] + 1, frames, expected)


@dataclass(eq=False, kw_only=True)
class _ActorWorker(PoolWorker[Job], Generic[Job]):
    """An actor and the answers expected from it."""

    handle: Any
    answer: Any
    """Answer to its last call of `prepare` or `do`."""
    progress: Any = None
    """Answer to the last call of `progress`, while it is expected."""
    progress_time: float = 0.0
    """When its progress was last requested."""
    reports: int = 0
    """Number of reports at its last progress."""


class Cluster:
    """A running Ray cluster; a context manager.

    Args:
        address: `HOST:PORT` or `ray://HOST:PORT`; `auto` for the cluster that this machine is part of.

    Raises:
        MissingExtraError: Ray is not installed.
        VTrackError: On entering, if there is no cluster at the address.
    """

    def __init__(self, address: str) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError('--cluster ray needs Ray; pip install "vtrack[ray]"') from error
        self._ray = ray
        self._address = address

    def __enter__(self) -> Self:
        if self._address == "local":
            raise UsageError("--address local starts a new Ray cluster; on one machine use --workers without --cluster")
        try:
            # Checked here, because Ray waits for minutes.
            host, _, port = self._address.removeprefix("ray://").rpartition(":")
            if port.isdecimal():
                socket.create_connection((host, int(port)), _CONNECT_TIMEOUT).close()
            self._ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
            raise VTrackError(
                f"no Ray cluster at {self._address}: {_first_line(error)}; start one with `ray start`"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    @property
    def capacity(self) -> int:
        """Number of actors that fit: one per GPU, or one per core if there are no GPUs."""
        return max(1, self._capacity(1))

    def pool(
        self, work: Work[Job, Result], *, workers: int, timeout: float, lock: FolderLock | None
    ) -> ClusterPool[Job, Result]:
        """Make a pool of actors, each with as many cores as the cluster has for all of them.

        Args:
            work: What the actors do.
            workers: Number of actors.
            timeout: Seconds without progress after which a job's actor is ended.
            lock: Lock of the output folder, which every machine must share; None if outputs go elsewhere.
        """
        most = max((int(node.get("CPU", 0)) for node in self._nodes()), default=1)
        cores = next((cores for cores in range(most, 1, -1) if self._capacity(cores) >= workers), 1)
        resources = {"num_cpus": cores, "num_gpus": int(self._has_gpus())}
        return ClusterPool(self._ray, work, resources, lock, workers=workers, timeout=timeout)

    def _capacity(self, cores: int) -> int:
        """Number of actors with so many cores that fit; an actor runs on one machine."""
        gpus = self._has_gpus()
        return sum(
            min(int(node.get("CPU", 0)) // cores, int(node.get("GPU", 0)) if gpus else 10**6) for node in self._nodes()
        )

    def _has_gpus(self) -> bool:
        return any(node.get("GPU", 0) >= 1 for node in self._nodes())

    def _nodes(self) -> list[dict[str, float]]:
        """Resources of each machine."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]


class ClusterPool(WorkerPool[Job, Result, _ActorWorker[Job]]):
    """Actors of a Ray cluster; see `Cluster.pool`."""

    max_failed_starts = 3

    def __init__(
        self,
        ray: Any,
        work: Work[Job, Result],
        resources: dict[str, int],
        lock: FolderLock | None,
        *,
        workers: int,
        timeout: float,
    ) -> None:
        super().__init__(workers=workers, timeout=timeout)
        self._ray = ray
        self._work = ray.put(work)
        self._lock = lock
        # An actor has two threads: one works, the other answers questions about progress.
        self._class = ray.remote(_Actor).options(max_concurrency=2, **resources)
        self._threads = resources["num_cpus"]
        self._last_ready = time.monotonic()

    def _start(self, number: int) -> _ActorWorker[Job]:
        if not self._workers:
            self._last_ready = time.monotonic()
        handle = self._class.remote(self._threads)
        return _ActorWorker(number=number, handle=handle, answer=handle.prepare.remote(self._work, self._lock))

    def _send(self, worker: _ActorWorker[Job], job: Job) -> None:
        worker.reports = 0
        worker.answer = worker.handle.do.remote(job)

    def _receive(self) -> Iterator[Event]:
        answers = {worker.answer: worker for worker in self._workers if worker.job is not None or not worker.ready}
        ready, _ = self._ray.wait([*answers], num_returns=len(answers), timeout=POLL_INTERVAL)
        for answer in ready:
            yield from self._handle(answers[answer])
        for worker in [worker for worker in self._workers if worker.job is not None]:
            yield from self._check_progress(worker)
        if any(worker.ready for worker in self._workers):
            self._last_ready = time.monotonic()
        elif time.monotonic() - self._last_ready > START_TIMEOUT:
            raise VTrackError(f"the cluster had no room for a worker for {START_TIMEOUT:g} s; see `ray status`")

    def _handle(self, worker: _ActorWorker[Job]) -> Iterator[Event]:
        """Handle the answer to `prepare` or `do`."""
        try:
            result = self._ray.get(worker.answer)
        except self._ray.exceptions.RayTaskError as error:
            yield from self._lose(worker, f"{type(error.cause).__name__}: {_first_line(error.cause)}")
            return
        except self._ray.exceptions.RayError as error:
            yield from self._lose(worker, f"its worker died: {_first_line(error)}", machine_lost=True)
            return
        if worker.ready:
            worker.progress = None
            yield from self._finish(worker, result)
        elif result is not None:
            raise result
        else:
            self._set_ready(worker)

    def _check_progress(self, worker: _ActorWorker[Job]) -> Iterator[Event]:
        """Request the progress of a worker, and end it if there has been none for too long."""
        now = time.monotonic()
        if worker.progress is None and now - worker.progress_time >= _PROGRESS_INTERVAL:
            worker.progress, worker.progress_time = worker.handle.progress.remote(), now
        if worker.progress is not None and self._ray.wait([worker.progress], timeout=0)[0]:
            answer, worker.progress = worker.progress, None
            try:
                reports, frames, expected = self._ray.get(answer)
            except self._ray.exceptions.RayError:
                return  # the worker died; the answer to its job says so too
            if reports != worker.reports:
                worker.reports, worker.last_progress = reports, now
                yield Progress(worker.number, frames, expected)
        if self._is_stalled(worker):
            yield from self._lose(worker, stalled(self._limit(worker)), is_stalled=True)

    def _kill(self, worker: _ActorWorker[Job]) -> None:
        self._ray.kill(worker.handle)


def _first_line(error: BaseException) -> str:
    """The first line of an error's message; Ray's messages are long."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
