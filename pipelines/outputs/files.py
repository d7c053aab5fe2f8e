"""Files that appear only when they are complete: written under a temporary name, then renamed."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from vtrack.errors import SinkError, spelled

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed
    fcntl = None  # type: ignore[assignment]

_TOKEN_BYTES = 4
_PART = re.compile(rf"\..+\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.part", re.DOTALL)
PART_CHARACTERS = len("..") + 2 * _TOKEN_BYTES + len(".part")
"""By how many characters a temporary name is longer than the final one."""


class PartFile:
    """A file that is written under a temporary name of its own and renamed when it is complete.

    The temporary name is `.<name>.<random>.part`, so two runs never write to one file. While it is written the file is
    locked, so that `remove_stale` can tell it from one that a killed process has left.

    Args:
        path: Final path of the file; `part` is the temporary one.
        overwrite: Whether a file that has appeared at `path` in the meantime is replaced.

    Example:
        file = PartFile("table.csv")
        with file.guarded():
            file.create().write_text("frame")
        file.settle(keep=True)
    """

    def __init__(self, path: str | Path, *, overwrite: bool = True) -> None:
        self.path = Path(path)
        self.part = self.path.with_name(f".{self.path.name}.{secrets.token_hex(_TOKEN_BYTES)}.part")
        self.overwrite = overwrite
        self.failures: tuple[type[Exception], ...] = (OSError,)
        """Errors that opening and writing may raise."""
        self._descriptor: int | None = None

    def create(self) -> Path:
        """Create the temporary file, empty and locked, and return its path; it is no link to another file."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
        self._descriptor = os.open(self.part, flags, 0o666)
        if fcntl is not None:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return self.part

    def open_text(self) -> TextIO:
        """Create the temporary file and open it for text in UTF-8."""
        return self.create().open("w", encoding="utf-8", newline="")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn errors of opening or writing (disk full, folder gone) into a `SinkError` that names the output."""
        try:
            yield
        except SinkError:
            raise
        except self.failures as error:
            reason = getattr(error, "strerror", None) or error
            raise SinkError(f"cannot write {self.path}: {reason}") from error

    def settle(self, keep: bool) -> None:
        """Sync the file to disk and rename it if `keep`, otherwise remove it.

        Raises:
            SinkError: The temporary file is gone, cannot be renamed, or another run has written `path` meanwhile.
        """
        if self._descriptor is None:
            return
        try:
            if keep:
                with self.guarded():
                    self._check_there(self._descriptor)
                    os.fsync(self._descriptor)
                    self._rename()
        finally:
            with suppress(OSError):
                self.part.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _check_there(self, descriptor: int) -> None:
        try:
            there = os.path.samestat(os.fstat(descriptor), self.part.stat())
        except FileNotFoundError:
            there = False
        if not there:
            raise SinkError(f"cannot write {self.path}: its temporary file {self.part.name} was removed meanwhile")

    def _rename(self) -> None:
        if self.overwrite:
            self.part.replace(self.path)
            return
        try:
            os.link(self.part, self.path)  # unlike a rename, this fails where a file exists
        except FileExistsError:
            self._refuse()
        except OSError:  # a file system without hard links
            if self.path.exists():
                self._refuse()
            self.part.replace(self.path)

    def _refuse(self) -> None:
        raise SinkError(
            f"{self.path} was written by another run meanwhile; add {spelled('overwrite', True)} or choose another path"
        )


@contextmanager
def whole_file(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give the temporary path of a file that gets its name when the block ends, or is removed if that fails.

    Args:
        path: Final path of the file.
        overwrite: Whether a file that exists is replaced.

    Raises:
        SinkError: The file cannot be written.

    Example:
        with whole_file("table.csv") as part:
            part.write_text("frame")
    """
    file, complete = PartFile(path, overwrite=overwrite), False
    try:
        with file.guarded():
            yield file.create()
        complete = True
    finally:
        file.settle(complete)


@contextmanager
def text_file(path: str | Path, *, overwrite: bool = True) -> Iterator[Callable[[str], None]]:
    """Give what writes text into a file while other work goes on; after Ctrl-C it holds what was written until then.

    Args:
        path: Final path of the file.
        overwrite: Whether a file that exists is replaced.

    Raises:
        SinkError: The file cannot be written.

    Example:
        with text_file("table.csv") as write:
            write("frame,time_s\\n")
    """
    file, keep = PartFile(path, overwrite=overwrite), False
    try:
        with file.guarded():
            text = file.open_text()

        def write(lines: str) -> None:
            with file.guarded():
                text.write(lines)

        with text:
            try:
                yield write
            finally:
                with file.guarded():
                    text.flush()
        keep = True
    except KeyboardInterrupt:
        keep = True
        raise
    finally:
        file.settle(keep)


def write_text(path: str | Path, text: str, *, overwrite: bool = True) -> None:
    """Write a file of text as UTF-8, whole or not at all; bytes of file names that are not UTF-8 become escapes.

    Args:
        path: File to write.
        text: What it holds.
        overwrite: Whether a file that exists is replaced.

    Raises:
        SinkError: It cannot be written.
    """
    with whole_file(path, overwrite=overwrite) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def remove_stale(folder: Path, *, recursive: bool = False) -> None:
    """Remove temporary files that killed processes have left in a folder; nothing happens if it is not there.

    Args:
        folder: Folder of outputs.
        recursive: Whether to look into its sub-folders too.
    """
    for parent, folders, files in os.walk(folder):
        for name in files:
            if _PART.fullmatch(name):
                _remove_unlocked(Path(parent, name))
        if not recursive:
            folders.clear()


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):
        if fcntl is None:
            path.unlink()
            return
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while a process writes it
            path.unlink()
        finally:
            os.close(descriptor)
