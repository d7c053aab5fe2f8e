"""Lock of an output folder: one run at a time, its workers included."""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from vtrack.errors import SinkError

NAME = ".vtrack-batch.lock"
_LOCK_TIMEOUT = 10.0
"""Seconds to wait for the lock."""
_ORPHANS_TIMEOUT = 300.0
"""Seconds to wait for it if the run that took it was killed: its workers end by themselves, on a busy machine after a while."""

try:
    import fcntl
except ImportError:  # Windows, where files that are open in one run cannot be replaced by another
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class FolderLock:
    """A lock that is held."""

    path: Path
    token: str
    """Text in the lock file: random and unique to this run, then its machine and process."""
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
    path, token = folder.absolute() / NAME, f"{uuid.uuid4().hex} {socket.gethostname()!a} {os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a", encoding="ascii")
    except OSError as error:
        raise SinkError(f"cannot write into folder {folder}: {error.strerror or error}") from error
    with file:
        if fcntl is not None:
            start = time.monotonic()
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() - start > (_ORPHANS_TIMEOUT if _is_orphaned(path) else _LOCK_TIMEOUT):
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


def _is_orphaned(path: Path) -> bool:
    """Whether the run that took a lock was killed, so that only its workers hold it; False where that is not known."""
    try:
        _, machine, process = path.read_text(encoding="ascii").split(" ")
        if machine == ascii(socket.gethostname()):
            os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        pass
    return False
