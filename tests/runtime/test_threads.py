"""Threads: items stay in order, queues are bounded, errors reach the caller, threads are joined."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vtrack.runtime.threads import ReadAhead, WriteBehind, interruptible

pytestmark = pytest.mark.usefixtures("no_thread_left")


@pytest.fixture
def sigint() -> Iterator[None]:
    """Python's own handler of Ctrl-C, which shells disable for programs in the background."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def test_read_ahead_keeps_order_and_stays_bounded() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    seen = []
    with ReadAhead(items(), 4) as items_ahead:
        for item in items_ahead:
            seen.append(item)
            time.sleep(0.001)
            # Four wait in the queue, one is held by the thread.
            assert len(made) <= len(seen) + 5
    assert seen == list(range(50))


def test_read_ahead_runs_while_the_reader_works() -> None:
    released = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        released.set()
        yield 1

    with ReadAhead(items(), 2) as items_ahead:
        next(items_ahead)
        assert released.wait(60)


def test_read_ahead_yields_items_before_the_error_then_raises_it() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise OSError("the file ends here")

    seen = []
    with ReadAhead(items(), 10) as items_ahead, pytest.raises(OSError, match="ends here"):
        for item in items_ahead:
            seen.append(item)
    assert seen == [0, 1, 2]


def test_leaving_early_closes_the_generator_in_its_own_thread() -> None:
    closed_by = []

    def items() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed_by.append(threading.current_thread().name)

    with ReadAhead(items(), 2) as items_ahead:
        next(items_ahead)
    assert closed_by == ["vtrack-ahead"]


def test_stop_ends_a_waiting_reader() -> None:
    hold, stop = threading.Event(), threading.Event()
    went_on = []

    def items() -> Iterator[int]:
        yield 1
        went_on.append(hold.wait(120))

    with ReadAhead(items(), 2, stop) as items_ahead:
        assert next(items_ahead) == 1
        threading.Timer(0.05, stop.set).start()
        assert list(items_ahead) == []
        assert not went_on, "the reader waited for the items"
        hold.set()


def test_write_behind_consumes_all_in_order_before_leaving() -> None:
    seen: list[int] = []

    def slow(item: int) -> None:
        time.sleep(0.002)
        seen.append(item)

    with WriteBehind(slow, 3) as queue:
        for i in range(20):
            queue.put(i)
            assert i - len(seen) <= 5
    assert seen == list(range(20))


def test_write_behind_raises_the_consumers_error_in_the_caller() -> None:
    def fail(item: int) -> None:
        if item == 2:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteBehind(fail, 1) as queue:
        for i in range(100):
            queue.put(i)
        pytest.fail("the error was not raised")


def test_write_behind_raises_an_error_of_the_last_item_on_leaving() -> None:
    def fail(item: int) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"), WriteBehind(fail, 5) as queue:
        queue.put(1)


def test_an_error_of_the_caller_drops_waiting_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function works on its first item until the caller waits for the thread's end."""
    seen: list[int] = []
    left, join = threading.Event(), threading.Thread.join

    def slow(item: int) -> None:
        left.wait(120)
        seen.append(item)

    def leave(thread: threading.Thread, timeout: float | None = None) -> None:
        left.set()
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", leave)
    with pytest.raises(ValueError, match="model"), WriteBehind(slow, 10) as queue:
        for i in range(10):
            queue.put(i)
        raise ValueError("model")
    assert seen in ([], [0])


def test_first_interrupt_sets_the_event_and_the_second_raises(sigint: None) -> None:
    with interruptible() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(60)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_a_closed_terminal_ends_a_run_once() -> None:
    with interruptible() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        assert stop.wait(60)
        os.kill(os.getpid(), signal.SIGHUP)  # shells send one more
        time.sleep(0.05)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGHUP")
def test_nohup_is_respected() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
            assert not stop.is_set()
    finally:
        signal.signal(signal.SIGHUP, previous)


PATIENT = """
import sys
from vtrack.runtime.threads import interruptible
with interruptible() as stop:
    print("ready", flush=True)
    stop.wait(120)
    for stream in (sys.stdout, sys.stderr):
        print("the terminal is gone", file=stream, flush=True)
open(sys.argv[1], "w").write(str(stop.is_set()))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no terminals of this kind")
def test_a_terminal_that_is_gone_can_still_be_written_to(tmp_path: Path) -> None:
    import pty  # absent on Windows

    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", PATIENT, str(tmp_path / "set.txt")])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "set.txt").read_text() == "True"
