"""A process that runs cases, so that a crash or a hang ends it and not the whole run."""

from __future__ import annotations

import importlib
import multiprocessing
import shutil
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tests.fuzz.outcomes import Outcome

PATIENCE = {"weights": 120.0, "messages": 120.0, "processes": 300.0}
"""Seconds after which a case of a target counts as a hang; `USUAL_PATIENCE` for all others."""
USUAL_PATIENCE = 30.0


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
        patience = PATIENCE.get(target, USUAL_PATIENCE)
        self._connection.send((target, number))
        try:
            if self._connection.poll(patience):
                outcome: Outcome = self._connection.recv()
                return outcome
        except (EOFError, ConnectionError):
            self._process.join()
            return Outcome("crash", f"exit code {self._process.exitcode}")
        return Outcome("hang", f"no end after {patience:g} s")

    def close(self) -> None:
        """End the process, at once if it hangs."""
        self._connection.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()


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
