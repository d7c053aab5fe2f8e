"""The fuzz run itself: its cases are the same again, and what it finds ends it with 1."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.fuzz import __main__ as fuzz
from tests.fuzz import tables, videos, weights, zips
from tests.fuzz.commands import run_call
from tests.fuzz.mutations import damaged
from tests.fuzz.outcomes import GOOD, Outcome, Tally
from tests.fuzz.worker import Worker
from vtrack.errors import DataError


def test_damage_is_reproducible_and_is_some() -> None:
    content = bytes(range(256)) * 8
    for seed in range(50):
        one, other = (damaged(content, np.random.default_rng(seed)) for _ in range(2))
        assert one == other
    assert sum(damaged(content, np.random.default_rng(seed)) != content for seed in range(50)) > 45


def test_only_the_projects_own_errors_of_one_line_are_clean() -> None:
    def call(error: BaseException | None) -> str:
        def act() -> None:
            if error is not None:
                raise error

        return run_call(act).kind

    assert call(None) == "done"
    assert call(DataError("x.csv: damaged")) == "clean error"
    assert call(DataError("x.csv: damaged\nat line 7")) == "foreign exception"
    assert call(DataError("x" * 5000)) == "foreign exception"
    assert call(KeyError("x")) == call(RecursionError()) == call(SystemExit(1)) == "foreign exception"


def test_the_report_counts_and_names_what_is_bad() -> None:
    tally = Tally()
    tally.add("videos", 1, Outcome("done"))
    tally.add("zips", 2, Outcome("clean error"))
    assert not tally.failed
    tally.add("zips", 3, Outcome("hang", "no end after 30 s"))
    assert tally.failed
    lines = tally.report().splitlines()
    assert lines[0].split()[:3] == ["target", "tried", "done"]
    assert [line.split()[:2] for line in lines[1:4]] == [["videos", "1"], ["zips", "2"], ["all", "3"]]
    assert lines[-1] == "zips:3: hang: no end after 30 s"


@pytest.mark.parametrize("target", [weights, zips, tables])
def test_some_cases_of_each_target(target: object, tmp_path: Path) -> None:
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcome = target.run_case(np.random.default_rng(number), folder)  # type: ignore[attr-defined]
        assert outcome.kind in GOOD, outcome


@pytest.mark.parametrize(
    "number",
    [
        20_007_566,  # a damaged end in an MP4 whose index cannot be searched
    ],
)
def test_videos_that_once_ended_badly(number: int, tmp_path: Path) -> None:
    outcome = videos.run_case(np.random.default_rng([number, *b"videos"]), tmp_path)
    assert outcome.kind in GOOD, outcome


def test_a_finding_ends_the_command_with_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Worker:
        def run(self, target: str, number: int) -> Outcome:
            return Outcome("done" if number % 2 == 0 else "leftover", "a.part")

        def close(self) -> None:
            pass

    monkeypatch.setattr(fuzz, "Worker", Worker)
    for case, code in (("zips:4", 0), ("zips:5", 1)):
        monkeypatch.setattr(sys, "argv", ["fuzz", "--case", case])
        assert fuzz.main() == code
    assert "zips:5: leftover: a.part" in capsys.readouterr().out


def test_a_number_of_cases(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    numbers: list[int] = []

    class Worker:
        def run(self, target: str, number: int) -> Outcome:
            assert target == "videos"
            numbers.append(number)
            return Outcome("done")

        def close(self) -> None:
            pass

    monkeypatch.setattr(fuzz, "Worker", Worker)
    monkeypatch.setattr(sys, "argv", ["fuzz", "--only", "videos", "--cases", "2500", "--seed", "3"])
    assert fuzz.main() == 0
    assert numbers == list(range(3_000_000, 3_002_500))
    assert "videos" in capsys.readouterr().out


def test_no_cases_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz", "--cases", "0"])
    with pytest.raises(SystemExit) as ended:
        fuzz.main()
    assert ended.value.code == 2 and "argument --cases: must be at least 1, got 0" in capsys.readouterr().err


class ToyProcess:
    """A process whose processor time a test sets."""

    pid = exitcode = None


class ToyConnection:
    """A connection over which the outcome comes after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def send(self, case: object) -> None:
        pass

    def poll(self, seconds: float) -> bool:
        self.looks -= 1
        return self.looks < 0

    def recv(self) -> Outcome:
        return Outcome("done")


@pytest.mark.parametrize(
    ("looks", "share", "wall", "kind"),
    [
        (500, 0.05, 1.0, "done"),  # a machine that is slow or busy
        (500, 0.9, 1.0, "hang"),  # it works for minutes
        (500, 0.0, 60.0, "hang"),  # it waits for hours
    ],
)
def test_a_hang_is_told_by_the_processor_or_by_hours(
    looks: int, share: float, wall: float, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now

    def seconds(worker: Worker) -> float:
        clock.now += wall
        return share * clock.now

    monkeypatch.setattr("tests.fuzz.worker.time", clock)
    monkeypatch.setattr(Worker, "_seconds", seconds)
    worker = object.__new__(Worker)
    worker._connection, worker._process = ToyConnection(looks), ToyProcess()  # type: ignore[assignment]
    assert worker.run("videos", 1).kind == kind


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processor time of a process is read from Linux's /proc"
)
def test_the_processor_time_of_a_worker_is_read() -> None:
    worker = object.__new__(Worker)
    worker._process = SimpleNamespace(pid=os.getpid())  # type: ignore[assignment]
    assert 0 < worker._seconds() <= time.process_time() + 1
