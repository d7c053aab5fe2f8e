"""Lock of an output folder: one run at a time, its workers included."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vtrack.errors import SinkError

NAME = ".vtrack-batch.lock"
_LOCK_TIMEOUT = 10.0
"""Seconds to wait for the lock: workers of a run that was just killed need a moment to exit."""

try:
    import fcntl
except ImportError:  # Windows, where files that are open in one run cannot be replaced by another
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class FolderLock:
    """A lock that is held."""

    path: Path
    token: str
    """Random text in the lock file, unique to this run."""
    files: tuple[int, ...] = ()
    """File descriptors; a process that inherits them holds the lock as well."""

    def is_visible(self) -> bool:
        """Whether this machine sees the locked folder, not another one of the same name."""
        try:
            return self.path.read_text(encoding="ascii") == self.token
        except OSError:
            return False


@contextmanager
def lock_folder(folder: Path) -> Iterator[FolderLock]:
    """Hold the lock of a folder, which is created if necessary.

    Raises:
        SinkError: Another run holds the lock, or the folder cannot be written.
    """
    path, token = folder.absolute() / NAME, uuid.uuid4().hex
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="ascii")
    except OSError as error:
        raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error
    with file:
        if fcntl is not None:
            deadline = time.monotonic() + _LOCK_TIMEOUT
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise SinkError(
                            f"another `vtrack batch` is writing into {folder}; wait until it ends"
                        ) from None
                    time.sleep(0.05)
        try:
            file.truncate(0)
            file.write(token)
            file.flush()
        except OSError as error:
            raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error
        yield FolderLock(path, token, () if fcntl is None else (file.fileno(),))
