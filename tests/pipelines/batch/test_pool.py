"""Worker processes that crash, hang or run out of memory fail the job that they were doing, and nothing else."""

from __future__ import annotations

import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import ROOT
from vtrack.errors import ModelError
from vtrack.pipelines.batch.workers.dispatch import Finished, Progress, Report, Started
from vtrack.pipelines.batch.workers.pool import ProcessPool


@dataclass(frozen=True)
class ToyWork:
    """Does what a job's name says."""

    folder: Path
    broken: str = ""

    def prepare(self) -> Callable[[str, Report], str]:
        (self.folder / f"loaded-{os.getpid()}").touch()
        if self.broken == "model":
            raise ModelError("the weights are gone")
        if self.broken == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return self._do

    def _do(self, job: str, report: Report) -> str:
        kind = job.partition(" ")[0]
        if kind == "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif kind == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "exit":
            os._exit(7)
        elif kind == "frozen":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif kind == "asleep":
            time.sleep(600)
        elif kind == "silent":
            time.sleep(2)
        elif kind == "meeting":
            (self.folder / f"here-{os.getpid()}").touch()
            while len(list(self.folder.glob("here-*"))) < 2:
                time.sleep(0.05)
        elif kind == "slow":
            for i in range(15):
                time.sleep(0.1)
                report(i, 15)
        elif kind == "signals":
            return " ".join(signal.Signals(number).name for number in signal.pthread_sigmask(signal.SIG_BLOCK, []))
        elif kind == "threads":
            return os.environ["OMP_NUM_THREADS"]
        return f"{job} by {os.getpid()}"


class PatientPool(ProcessPool[str, str]):
    """Loses patience only with jobs that never end, however slow the machine is."""

    def _limit(self, worker: Any) -> float:
        return super()._limit(worker) if worker.job in ("frozen", "asleep") else math.inf


def pool(tmp_path: Path, workers: int = 2, timeout: float = 3600.0, **changes: str) -> PatientPool:
    return PatientPool(ToyWork(tmp_path, **changes), workers=workers, threads=3, timeout=timeout)


@pytest.fixture(autouse=True)
def no_child_left() -> Iterator[None]:
    yield
    import multiprocessing

    assert multiprocessing.active_children() == []


def test_a_worker_is_loaded_once_and_does_many_jobs(tmp_path: Path) -> None:
    # The first two are only done by both workers at once, so that neither does all before the other has begun.
    jobs = ["meeting 0", "meeting 1", *(f"good {i}" for i in range(10))]
    events = list(pool(tmp_path).run(deque(jobs), threading.Event()))
    results = [event.result for event in events if isinstance(event, Finished)]
    assert sorted(str(result).partition(" by ")[0] for result in results) == sorted(jobs)
    assert len({str(result).partition(" by ")[2] for result in results}) == len(list(tmp_path.glob("loaded-*"))) <= 2
    assert sum(isinstance(event, Started) for event in events) == 12


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("segfault", "killed by SIGSEGV"),
        ("killed", r"killed by SIGKILL \(out of memory\?\)"),
        ("exit", "exited with code 7"),
        ("frozen", "no progress for 1 s; its worker was ended"),
        ("asleep", "no progress for 1 s"),
    ],
)
def test_a_dead_worker_fails_one_job(tmp_path: Path, kind: str, why: str) -> None:
    timeout = 1.0 if "progress" in why else 3600.0
    work = pool(tmp_path, workers=1, timeout=timeout)
    events = list(work.run(deque(["good 1", kind, "good 2"]), threading.Event()))
    ends = [event for event in events if isinstance(event, Finished)]
    assert [event.job for event in ends] == ["good 1", kind, "good 2"]
    assert ends[0].result
    assert ends[2].result
    assert ends[1].result is None
    assert re.search(why, ends[1].lost)
    assert [end.stalled for end in ends] == [False, "progress" in why, False]


# Ctrl-C while the second worker is being started: it is delivered before the pool knows that worker.
INTERRUPTED_START = """
import multiprocessing.process, os, signal, sys, threading
from collections import deque
from pathlib import Path
from tests.pipelines.batch.test_pool import pool

def start(process, begin=multiprocessing.process.BaseProcess.start):
    begin(process)
    if len(multiprocessing.process.active_children()) == 2:
        os.kill(os.getpid(), signal.SIGINT)

multiprocessing.process.BaseProcess.start = start
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells disable it for what they run in the background
list(pool(Path(sys.argv[1])).run(deque(["asleep", "asleep"]), threading.Event()))
"""


def test_an_interrupt_while_a_worker_starts_ends_the_program(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED_START, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")
    assert done.returncode == -signal.SIGINT


# Names of the signals that the first worker of a program ignores.
IGNORED = """
import sys, threading
from collections import deque
from pathlib import Path
from tests.pipelines.batch.test_pool import pool

*_, end = pool(Path(sys.argv[1]), workers=1).run(deque(["signals"]), threading.Event())
print(end.result)
"""


def test_the_first_worker_ignores_what_a_terminal_sends_to_all(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IGNORED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) >= {"SIGINT", "SIGTERM", "SIGHUP"}


def test_progress_keeps_a_slow_job_alive(tmp_path: Path) -> None:
    events = list(pool(tmp_path, workers=1).run(deque(["slow"]), threading.Event()))
    assert events[-1].result  # type: ignore[union-attr]
    progress = [event.frames for event in events if isinstance(event, Progress)]
    assert progress == sorted(progress)
    assert len(progress) >= 3


def test_time_in_which_the_pool_itself_stood_still_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when Ctrl-Z stops the pool and its workers, or when its caller takes long."""
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(pauses))
    for module in ("dispatch", "pool"):
        monkeypatch.setattr(f"vtrack.pipelines.batch.workers.{module}.time", clock)
    patient = ProcessPool(ToyWork(tmp_path), workers=1, threads=1, timeout=600.0)
    for event in patient.run(deque(["silent"]), threading.Event()):
        if isinstance(event, Started):
            pauses.append(3600.0)
    assert isinstance(event, Finished) and event.result, event


def test_threads_are_divided(tmp_path: Path) -> None:
    events = list(pool(tmp_path, workers=1).run(deque(["threads"]), threading.Event()))
    assert events[-1].result == "3"  # type: ignore[union-attr]


def test_after_stop_no_job_is_started(tmp_path: Path) -> None:
    stop, ended = threading.Event(), []
    for event in pool(tmp_path, workers=1).run(deque(["slow", "good 1", "good 2"]), stop):
        if isinstance(event, Started):
            stop.set()
        if isinstance(event, Finished):
            ended.append(event.job)
    assert ended == ["slow"]


def test_closing_the_events_kills_the_workers(tmp_path: Path) -> None:
    events = pool(tmp_path).run(deque(["asleep 1", "asleep 2"]), threading.Event())
    assert isinstance(next(events), Started)
    events.close()


def test_a_model_that_cannot_be_loaded_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the weights are gone"):
        list(pool(tmp_path, broken="model").run(deque(["good"]), threading.Event()))
    with pytest.raises(Exception, match="workers could not start: its worker was killed by SIGKILL"):
        list(pool(tmp_path, broken="killed").run(deque(["good"]), threading.Event()))
