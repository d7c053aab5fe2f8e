"""One run at a time for each output folder, its workers included."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vtrack.errors import SinkError

NAME = ".vtrack-batch.lock"
_PATIENCE = 10.0
"""Seconds to wait: workers of a run that was just killed need a moment to die."""

try:
    import fcntl
except ImportError:  # Windows, where the files that a run has open cannot be replaced by another
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(folder: Path) -> Iterator[list[int]]:
    """Hold the folder's lock; gives the files that keep it for whoever has them open."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / NAME).open("w")
    except OSError as error:
        raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error
    with file:
        if fcntl is None:
            yield []
            return
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise SinkError(f"another `vtrack batch` is at work in {folder}; wait for it") from None
                time.sleep(0.05)
        yield [file.fileno()]
