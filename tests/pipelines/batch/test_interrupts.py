"""Batches that are interrupted at any moment, in a process of their own, and run again."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipelines.batch.batching import summary, tables, write_toys


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough videos for a run to be killed at any moment of it."""
    many = tmp_path_factory.mktemp("many")
    for i in range(6):
        write_toys(many / f"{i}.mp4", 40 + 10 * i)
    (many / "bad.mp4").write_bytes(b"nonsense" * 100)
    return many


@pytest.fixture(scope="module")
def undisturbed(many: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The outputs of a run that nobody killed, and the seconds it took."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    began = time.perf_counter()
    assert start(many, out).wait() == 1
    return out, time.perf_counter() - began


def start(folder: Path, out: Path, *signalled: str) -> subprocess.Popen[bytes]:
    """A batch in a process of its own, which sends itself a signal at an event if these are named."""
    command = [sys.executable, "-m", "tests.pipelines.batch.batching", str(folder), str(out), *signalled]
    # Unbuffered: `communicate` would not see lines that were read ahead by `wait_for`.
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("number", "count"),
    [pytest.param(number, count, id=f"{number.name}-{count}", marks=[pytest.mark.slow] * (count == 100))
     for number, counts in ((signal.SIGKILL, (5, 100)), (signal.SIGTERM, (2, 100))) for count in counts],
)  # fmt: skip
def test_a_signal_at_any_moment_loses_nothing_and_changes_nothing(
    many: Path, undisturbed: tuple[Path, float], tmp_path: Path, number: signal.Signals, count: int
) -> None:
    whole, seconds = undisturbed
    out, ended = tmp_path / "out", 0
    # Spread over the whole run, in random order, and more where most came after the end, because the machine is slow or busy.
    moments = [(i + 0.5) / count * seconds for i in range(count)]
    random.Random(count).shuffle(moments)
    moments += [seconds / 2 ** (2 + i % 8) for i in range(count)]
    for i, moment in enumerate(moments):
        if i >= count and ended > count / 10:
            break
        finished = {path: path.read_bytes() for path in out.glob("*.meta.json") if is_done(path)}
        process = start(many, out)
        time.sleep(moment)
        process.send_signal(number)
        errors = process.communicate()[1]
        assert process.returncode in (-number, 1, 130), errors
        ended += process.returncode != 1
        # What was finished before is there still, untouched.
        assert {path: path.read_bytes() for path in finished} == finished
        if process.returncode == 130:  # it had time to clean up
            assert not list(out.rglob("*.part")) and b"Traceback" not in errors
        if process.returncode == 1:
            assert tables(out) == tables(whole)
            shutil.rmtree(out)
    assert ended > count / 10, "nearly every signal came after the end"
    process = start(many, out)
    assert process.wait() == 1, process.communicate()
    assert tables(out) == tables(whole)


def is_done(sidecar: Path) -> bool:
    return json.loads(sidecar.read_text())["counts"]["status"] == "done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_one_interrupt_finishes_what_runs(many: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "out"
    process = start(many, out, number.name, "Started")
    words, errors = process.communicate()
    assert process.returncode == 130, errors
    rows = summary(out)
    assert words.count(b"Finished(") == words.count(b"Started(") == sum(r["status"] != "waiting" for r in rows.values())
    assert {row["status"] for row in rows.values()} >= {"done", "waiting"}


def test_ctrl_c_twice_ends_at_once_and_loses_nothing(
    many: Path, undisturbed: tuple[Path, float], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(many, out)
    wait_for(process, b"Finished")
    # As a terminal does it: to everyone. Workers must not mind.
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode != 0
    rows = summary(out)
    assert {row["status"] for row in rows.values()} >= {"done"}
    assert not list(out.rglob("*.part"))
    assert start(many, out).wait() == 1
    assert tables(out) == tables(undisturbed[0])


def wait_for(process: subprocess.Popen[bytes], word: bytes) -> bytes:
    """Read until a line has the word."""
    assert process.stdout is not None
    words = b""
    while word not in words:
        line = process.stdout.readline()
        assert line, process.communicate()
        words += line
    return words
