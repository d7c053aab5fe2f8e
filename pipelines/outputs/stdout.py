"""Stdout as an output: text that goes to whoever reads it, frame by frame."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, cast

from vtrack.errors import SinkError
from vtrack.pipelines.outputs.files import PartFile

STDOUT = Path("-")
"""The path that stands for stdout; a file of this name is written as `./-`."""


class StdoutFile(PartFile):
    """Stdout in the place of a file. A reader that leaves early raises `BrokenPipeError`."""

    def __init__(self) -> None:
        super().__init__(STDOUT)

    def open_text(self) -> TextIO:
        """Open stdout for text, without closing it at the end; each line is passed on at once."""
        if sys.stdout is None:
            raise SinkError("cannot write to stdout: it is closed")
        sys.stdout.flush()
        try:
            # Its own descriptor: what a broken pipe leaves in the buffer does not trouble Python's flush at exit.
            descriptor = os.dup(sys.stdout.fileno())
        except io.UnsupportedOperation:  # replaced, as in notebooks
            return cast(TextIO, _BorrowedStream(sys.stdout))
        return os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", newline="")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn errors of writing into a `SinkError`, but for a reader that has left."""
        try:
            yield
        except (SinkError, BrokenPipeError):
            raise
        except self.failures as error:
            raise SinkError(f"cannot write to stdout: {getattr(error, 'strerror', None) or error}") from error

    def settle(self, keep: bool) -> None:
        """Do nothing: what was written is read already."""


class _BorrowedStream(io.TextIOBase):
    """Writes to a stream and leaves it open."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()


def named(path: Path) -> str:
    """The path of an output in messages."""
    return "stdout" if path == STDOUT else str(path)
