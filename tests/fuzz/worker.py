"""A process that runs cases, so that a crash or a hang ends it and not the whole run."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shutil
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.fuzz.outcomes import Outcome

PATIENCE = {"weights": 120.0, "messages": 120.0, "processes": 120.0}
"""Seconds of the processor after which a case of a target counts as a hang; `USUAL_PATIENCE` for all others."""
USUAL_PATIENCE = 60.0
LONGEST = 3600.0
"""Seconds after which any case counts as a hang, however slow or busy the machine is: it waits for what never comes."""
_INTERVAL = 1.0
"""Seconds between two looks at a case."""


class Worker:
    """A process of its own for one case after the other."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there,))
        self._process.start()
        there.close()

    def run(self, target: str, number: int) -> Outcome:
        """The outcome of one case; after a crash or a hang the worker is of no further use."""
        patience, end = PATIENCE.get(target, USUAL_PATIENCE), time.monotonic() + LONGEST
        try:
            self._connection.send((target, number))
            began = self._seconds()
            while not self._connection.poll(_INTERVAL):
                if self._seconds() - began > patience:
                    return Outcome("hang", f"no end after {patience:g} s of the processor")
                if time.monotonic() > end:
                    return Outcome("hang", f"no end after {LONGEST:g} s")
            outcome: Outcome = self._connection.recv()
            return outcome
        except (EOFError, ConnectionError):
            self._process.join()
            return Outcome("crash", f"exit code {self._process.exitcode}")

    def _seconds(self) -> float:
        """Processor time of the process so far; 0 where the system has no `/proc`, or when it has just died."""
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """End the process, at once if it hangs."""
        self._connection.close()
        self._process.join(60)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def _serve(connection: Connection) -> None:
    """Run the cases that are asked for."""
    while True:
        try:
            target, number = connection.recv()
        except (EOFError, OSError):
            return
        folder = Path(tempfile.mkdtemp(prefix="vtrack-fuzz-"))
        try:
            rng = np.random.default_rng([number, *target.encode()])
            connection.send(importlib.import_module(f"tests.fuzz.{target}").run_case(rng, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
