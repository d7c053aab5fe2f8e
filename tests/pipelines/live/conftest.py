"""What the tests of live video share."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator

import pytest

from tests.pipelines.live.patience import EveryItem


@pytest.fixture
def every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture skips no frame, however slow its reader is."""
    monkeypatch.setattr("vtrack.pipelines.live.capture.Latest", EveryItem)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds of processor time of each step of the server's event loop.

    What other threads take does not count, nor a pass of the garbage collector over all of PyTorch, which falls on any step.
    """
    steps: list[float] = []
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        if threading.current_thread() is not threading.main_thread():
            steps.append(time.thread_time() - began)

    monkeypatch.setattr(asyncio.Handle, "_run", measured)
    gc.disable()
    try:
        yield steps
    finally:
        gc.enable()
