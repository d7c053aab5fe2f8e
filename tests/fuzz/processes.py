"""Runs and batches that are killed or told to end at a random moment, and what they leave behind."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from tests.fuzz.commands import absurd_value
from tests.fuzz.outcomes import Outcome
from tests.fuzz.videos import SAMPLE
from vtrack.errors import SinkError
from vtrack.pipelines.batch.lock import lock_folder

PATIENCE = 1200.0
"""Seconds that a process may take to end after SIGTERM, or that a repeated run may take: it hangs, or the machine is slow."""


def run_case(rng: np.random.Generator, folder: Path) -> Outcome:
    """Interrupt a command, look at what is left, and run it again."""
    videos, out = folder / "videos", folder / "out"
    videos.mkdir()
    batch = rng.random() < 0.5
    for number in range(2 if batch else 1):
        shutil.copy(SAMPLE, videos / f"{number}.mp4")
    where = [videos, "--workers", "2"] if batch else [videos / "0.mp4"]
    command = [sys.executable, "-m", "vtrack", "batch" if batch else "run", *map(str, where), "--parts", "eyes"]
    command += ["-o", str(out), "--video", "--quiet"]
    number = signal.SIGTERM if rng.random() < 0.6 else signal.SIGKILL
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    time.sleep(float(rng.uniform(0.3, 4.0)))
    process.send_signal(number)
    try:
        errors = process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Outcome("hang", f"after {number.name}")
    if "Traceback" in errors:
        return Outcome("foreign exception", errors[-300:])
    if number == signal.SIGTERM and (left := _temporary(out)):
        return Outcome("leftover", f"after SIGTERM: {left}")
    if batch:
        _wait_for_workers(out)
    return _again([*command, "--overwrite"], out)


def _wait_for_workers(out: Path) -> None:
    """Wait until the workers of a batch that was killed have ended; the next run waits for them, too, but not as long."""
    end = time.monotonic() + PATIENCE
    while out.is_dir() and time.monotonic() < end:
        with contextlib.suppress(SinkError), lock_folder(out):
            return


def _again(command: list[str], out: Path) -> Outcome:
    """Run an interrupted command to its end."""
    try:
        again = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return Outcome("hang", f"the same command again: {' '.join(command)}")
    if again.returncode or "Traceback" in again.stderr:
        return Outcome("foreign exception", f"the same command again: {again.returncode}: {again.stderr[-300:]}")
    if left := _temporary(out):
        return Outcome("leftover", f"after the same command again: {left}")
    absurd = next((found for table in out.rglob("*.vtrack.csv") if (found := absurd_value(table))), "")
    return Outcome("absurd value", absurd) if absurd else Outcome("done")


def _temporary(folder: Path) -> str:
    return ", ".join(path.name for path in folder.rglob(".*") if path.is_file() and path.name.endswith(".part"))
