"""One run at a time for each output folder, its workers included."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vtrack.errors import SinkError

NAME = ".vtrack-batch.lock"
_PATIENCE = 10.0
"""Seconds to wait: workers of a run that was just killed need a moment to die."""

try:
    import fcntl
except ImportError:  # Windows, where the files that a run has open cannot be replaced by another
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that is held; what of it another machine can be told."""

    path: Path
    token: str
    """Of this run alone."""
    files: tuple[int, ...] = ()
    """That keep the lock for whichever process has them open."""

    def is_seen(self) -> bool:
        """Whether the folder is here the one that is locked, not another of its name."""
        try:
            return self.path.read_text(encoding="ascii") == self.token
        except OSError:
            return False


@contextmanager
def locked(folder: Path) -> Iterator[Held]:
    """Hold the folder's lock."""
    path, token = folder.absolute() / NAME, uuid.uuid4().hex
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="ascii")
    except OSError as error:
        raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error
    with file:
        if fcntl is not None:
            until = time.monotonic() + _PATIENCE
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise SinkError(f"another `vtrack batch` is at work in {folder}; wait for it") from None
                    time.sleep(0.05)
        try:
            file.truncate(0)
            file.write(token)
            file.flush()
        except OSError as error:
            raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error
        yield Held(path, token, () if fcntl is None else (file.fileno(),))
