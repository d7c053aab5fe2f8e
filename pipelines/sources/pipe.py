"""A video that comes through a pipe, such as stdin: it is read once, from its beginning to its end.

An MP4 or MOV file whose index stands at its end cannot be decoded before that end has come, so such a video is first copied
to a temporary file, which disappears with the process.
"""

from __future__ import annotations

import io
import os
import select
import shutil
import sys
import tempfile
import threading
from typing import IO, Any, BinaryIO

from vtrack.errors import SourceError, UsageError

_HEAD = 4096
"""Bytes that are looked at to tell what comes."""
_POLL = 0.1
"""Seconds between two looks whether waiting for data has become pointless."""


class Pipe:
    """The bytes of a pipe as a file for FFmpeg, which reads but does not seek in it.

    Args:
        stream: The stream to read.
        label: Name in messages.
    """

    def __init__(self, stream: BinaryIO, label: str) -> None:
        self._stream, self.label = stream, label
        self._abandoned = threading.Event()
        self.head = self._read_head()
        """The first bytes."""
        self._left = self.head

    def opened(self) -> Any:
        """The file for FFmpeg: the pipe itself, or a copy of it where the index stands at the end."""
        if not _index_is_last(self.head):
            return self
        copy: IO[bytes] = tempfile.TemporaryFile(prefix="vtrack-")  # noqa: SIM115  open as long as the video is
        shutil.copyfileobj(self, copy)
        copy.seek(0)
        return copy

    def read(self, size: int = _HEAD) -> bytes:
        """Return the next bytes, at most `size`; none at the end, or once the reader has given up."""
        if self._left:
            data, self._left = self._left[:size], self._left[size:]
            return data
        return self._next(size)

    def abandon(self) -> None:
        """Let a `read` that waits for data return; called from another thread."""
        self._abandoned.set()

    @property
    def abandoned(self) -> bool:
        """Whether the reader has given up."""
        return self._abandoned.is_set()

    def _next(self, size: int) -> bytes:
        try:
            descriptor = self._stream.fileno()
        except io.UnsupportedOperation:  # not a stream of the system
            return self._stream.read(size)
        if os.name == "posix":
            while not select.select([descriptor], [], [], _POLL)[0]:
                if self.abandoned:
                    return b""
        return os.read(descriptor, size)

    def _read_head(self) -> bytes:
        head = b""
        while len(head) < _HEAD and (data := self._next(_HEAD - len(head))):
            head += data
        return head


def open_stdin() -> Pipe:
    """Open stdin as a pipe.

    Raises:
        UsageError: Stdin is a terminal.
        SourceError: Stdin is closed.
    """
    if sys.stdin is None:
        raise SourceError("stdin: it is closed; pipe a video into it")
    if sys.stdin.isatty():
        raise UsageError(
            "- reads a video from stdin, which is a terminal here; pipe one into it: cat talk.mp4 | vtrack run -"
        )
    return Pipe(sys.stdin.buffer, "stdin")


def _index_is_last(head: bytes) -> bool:
    """Whether these are the first bytes of an MP4 or MOV file whose frames come before their index."""
    place = 0
    while place + 8 <= len(head):
        size, kind = int.from_bytes(head[place : place + 4], "big"), head[place + 4 : place + 8]
        if kind == b"mdat":
            return True
        if kind not in (b"ftyp", b"free", b"skip", b"wide") or size < 8:
            return False
        place += size
    return False
