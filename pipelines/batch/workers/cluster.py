"""The same work on many machines: Ray actors take the place of worker processes.

A cluster is joined, never started: `ray start` does that. Each actor has a GPU of its own, or some cores, loads the models
once and is lent one job at a time. What a machine was at when it died is done again elsewhere.
"""

from __future__ import annotations

import logging
import os
import platform
import socket
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import Any, Generic, Self, TypeVar

from vtrack.errors import MissingExtraError, SinkError, UsageError, VTrackError
from vtrack.pipelines.batch.lock import Held
from vtrack.pipelines.batch.workers.pool import Event, Finished, Progress, Started, Work

Job = TypeVar("Job")
Result = TypeVar("Result")

_KNOCK = 5.0
"""Seconds that a cluster may take to answer."""
_TICK = 0.25
_PULSE = 1.0
"""Seconds between two questions how far a job is."""
_START = 300.0
"""Seconds without any actor that works, after which nobody will come any more."""
_FALSE_STARTS = 3
"""Actors in a row that die while they load."""


class _Actor(Generic[Job, Result]):
    """Lives on some machine of the cluster."""

    def __init__(self, threads: int) -> None:
        # Before torch and NumPy are loaded: they read it then.
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENCV_FOR_THREADS_NUM"] = str(threads)
        self._headway: tuple[int, int, int | None] = (0, 0, None)

    def prepare(self, work: Work[Job, Result], held: Held | None) -> VTrackError | None:
        """Load the models; an error if that fails, or if outputs written here would not arrive."""
        if held is not None and not held.is_seen():
            return SinkError(f"{platform.node()} does not share the folder {held.path.parent} with this machine")
        try:
            self._do = work.prepare()
        except VTrackError as error:
            return error
        return None

    def do(self, job: Job) -> Result:
        """One job."""
        return self._do(job, self._report)

    def headway(self) -> tuple[int, int, int | None]:
        """How many reports there were so far, and what the last one said: frames, and of how many."""
        return self._headway

    def _report(self, frames: int, expected: int | None) -> None:
        self._headway = (self._headway[0] + 1, frames, expected)


@dataclass(eq=False)
class _Worker(Generic[Job]):
    """This end of an actor."""

    number: int
    handle: Any
    answer: Any
    """Of what it was told last."""
    ready: bool = False
    job: Job | None = None
    pulse: Any = None
    """The answer to come to how far it is."""
    reports: int = 0
    asked: float = 0.0
    heard: float = field(default_factory=time.monotonic)


class Cluster:
    """A Ray cluster that is running; a context manager."""

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
            raise UsageError("vtrack joins Ray clusters and starts none; on one machine --workers does without")
        try:
            # Ray itself would wait for minutes.
            host, _, port = self._address.removeprefix("ray://").rpartition(":")
            if port.isdecimal():
                socket.create_connection((host, int(port)), _KNOCK).close()
            self._ray.init(address=self._address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError, self._ray.exceptions.RayError) as error:
            raise VTrackError(
                f"no Ray cluster at {self._address}: {_line(error)}; start one with `ray start`"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()

    @property
    def places(self) -> int:
        """For how many actors there is room: one for each GPU, or for each core where there are none."""
        return max(1, self._room(1))

    def pool(
        self, work: Work[Job, Result], *, workers: int, timeout: float, held: Held | None
    ) -> ClusterPool[Job, Result]:
        """So many actors, with as many cores each as there are for all of them."""
        most = max((int(node.get("CPU", 0)) for node in self._nodes()), default=1)
        cores = next((cores for cores in range(most, 1, -1) if self._room(cores) >= workers), 1)
        needs = {"num_cpus": cores, "num_gpus": int(self._has_gpus())}
        return ClusterPool(self._ray, work, workers, needs, timeout, held)

    def _room(self, cores: int) -> int:
        """For how many actors of so many cores there is room; no actor spans two machines."""
        gpus = self._has_gpus()
        return sum(
            min(int(node.get("CPU", 0)) // cores, int(node.get("GPU", 0)) if gpus else 10**6) for node in self._nodes()
        )

    def _has_gpus(self) -> bool:
        return any(node.get("GPU", 0) >= 1 for node in self._nodes())

    def _nodes(self) -> list[dict[str, float]]:
        """What each machine has."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]


class ClusterPool(Generic[Job, Result]):
    """Actors that are lent one job at a time, and replaced when they die or hang; what `Pool` is on one machine."""

    def __init__(
        self, ray: Any, work: Work[Job, Result], workers: int, needs: dict[str, int], timeout: float, held: Held | None
    ) -> None:
        self._ray = ray
        self._work = ray.put(work)
        self._count = workers
        self._timeout = timeout
        self._held = held
        # The second thread of an actor answers while the first works.
        self._class = ray.remote(_Actor).options(max_concurrency=2, **needs)
        self._threads = needs["num_cpus"]
        self._workers: list[_Worker[Job]] = []
        self._false_starts = 0

    def run(self, waiting: deque[Job], stop: Flag) -> Generator[Event, None, None]:
        """Do the jobs in this order, telling what happens; see `Pool.run`."""
        working = time.monotonic()
        try:
            while True:
                if stop.is_set():
                    waiting.clear()
                busy = sum(worker.job is not None for worker in self._workers)
                while len(self._workers) < min(self._count, busy + len(waiting)):
                    self._workers.append(self._start())
                for worker in self._workers:
                    if worker.ready and worker.job is None and waiting:
                        worker.job, worker.heard, worker.reports = waiting.popleft(), time.monotonic(), 0
                        worker.answer = worker.handle.do.remote(worker.job)
                        yield Started(worker.number, worker.job)
                if not waiting and all(worker.job is None for worker in self._workers):
                    return
                yield from self._listen()
                if any(worker.ready for worker in self._workers):
                    working = time.monotonic()
                elif time.monotonic() - working > _START:
                    raise VTrackError(f"the cluster had no room for a worker for {_START:g} s; see `ray status`")
        finally:
            for worker in self._workers:
                self._ray.kill(worker.handle)
            self._workers.clear()

    def _start(self) -> _Worker[Job]:
        taken = {worker.number for worker in self._workers}
        number = next(number for number in range(self._count) if number not in taken)
        handle = self._class.remote(self._threads)
        return _Worker(number, handle, handle.prepare.remote(self._work, self._held))

    def _listen(self) -> Iterator[Event]:
        """What actors have to say within a tick; ends those that died or hang."""
        answers = {worker.answer: worker for worker in self._workers if worker.job is not None or not worker.ready}
        ready, _ = self._ray.wait([*answers], num_returns=len(answers), timeout=_TICK)
        for answer in ready:
            yield from self._heed(answers[answer])
        for worker in [worker for worker in self._workers if worker.job is not None]:
            yield from self._feel(worker)

    def _heed(self, worker: _Worker[Job]) -> Iterator[Event]:
        """An actor is through with what it was told."""
        try:
            result = self._ray.get(worker.answer)
        except self._ray.exceptions.RayTaskError as error:
            self._ray.kill(worker.handle)
            yield from self._lose(worker, f"{type(error.cause).__name__}: {_line(error.cause)}", elsewhere=False)
            return
        except self._ray.exceptions.RayError as error:
            yield from self._lose(worker, f"its worker died: {_line(error)}", elsewhere=True)
            return
        if not worker.ready:
            if result is not None:
                raise result
            worker.ready, self._false_starts = True, 0
            return
        job, worker.job, worker.pulse = worker.job, None, None
        yield Finished(worker.number, job, result)

    def _feel(self, worker: _Worker[Job]) -> Iterator[Event]:
        """Ask an actor how far it is, and end it if that is as far as it was long ago."""
        now = time.monotonic()
        if worker.pulse is None and now - worker.asked >= _PULSE:
            worker.pulse, worker.asked = worker.handle.headway.remote(), now
        if worker.pulse is not None and self._ray.wait([worker.pulse], timeout=0)[0]:
            pulse, worker.pulse = worker.pulse, None
            try:
                reports, frames, expected = self._ray.get(pulse)
            except self._ray.exceptions.RayError:
                return  # its answer says so too
            if reports != worker.reports:
                worker.reports, worker.heard = reports, now
                yield Progress(worker.number, frames, expected)
        if now - worker.heard > self._timeout:
            self._ray.kill(worker.handle)
            lost = f"no headway for {self._timeout:g} s; its worker was ended (--timeout)"
            yield from self._lose(worker, lost, elsewhere=False)

    def _lose(self, worker: _Worker[Job], lost: str, *, elsewhere: bool) -> Iterator[Event]:
        self._workers.remove(worker)
        if worker.job is not None:
            yield Finished(worker.number, worker.job, None, lost, elsewhere)
            return
        self._false_starts += 1
        if self._false_starts >= _FALSE_STARTS:
            raise VTrackError(f"workers could not start: {lost}")


def _line(error: BaseException) -> str:
    """The first line of what Ray has to say at length."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
