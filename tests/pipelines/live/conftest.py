"""What the tests of live video share."""

from __future__ import annotations

import asyncio
import sys
import threading

import pytest

from tests.pipelines.live.patience import EveryItem


@pytest.fixture
def every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A capture skips no frame, however slow its reader is."""
    monkeypatch.setattr("vtrack.pipelines.live.capture.Latest", EveryItem)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of function calls in each step of the server's event loop: how long it keeps all others waiting.

    Seconds would say how busy the machine is.
    """
    steps: list[int] = []
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        if threading.current_thread() is threading.main_thread():
            run(handle)
            return
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        try:
            run(handle)
        finally:
            sys.setprofile(None)
            steps.append(calls)

    monkeypatch.setattr(asyncio.Handle, "_run", measured)
    return steps
