"""Messages of OpenCV and of the libraries that it decodes with, which write to stderr by themselves."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import cv2

from vtrack.runtime.streams import put_back

# OpenCV 5 moved its functions of the log level.
_opencv_log = getattr(cv2.utils, "logging", cv2)

_SILENT = 0
"""OpenCV's log level of nothing at all."""
_STDERR = 2
_LIBRARY = re.compile(
    rb"(?:libpng (?:warning|error)|Corrupt JPEG data|Inconsistent progression|Invalid SOS|Premature end of JPEG|"
    rb"Application transferred too many|Unknown Adobe|Warning: unknown JFIF)[^\n]*\n?"
)
"""A line of libpng or of libjpeg."""
_HARMLESS = re.compile(r"libpng warning|Corrupt JPEG data: \d+ extraneous bytes|Unknown Adobe|Warning: unknown JFIF")
"""Beginnings of lines about files whose pixels are all there."""

_level_lock, _stderr_lock = threading.Lock(), threading.Lock()
_silencers, _level = 0, _SILENT
"""Number of blocks of `opencv_silent` in all threads, for which the level is one; and the level outside of them."""


@contextmanager
def opencv_silent() -> Iterator[None]:
    """Keep OpenCV's own messages off the terminal."""
    global _silencers, _level  # noqa: PLW0603
    with _level_lock:
        if not _silencers:
            _level = _opencv_log.setLogLevel(_SILENT)
        _silencers += 1
    try:
        yield
    finally:
        with _level_lock:
            _silencers -= 1
            if not _silencers:
                _opencv_log.setLogLevel(_level)


@contextmanager
def decoding() -> Iterator[list[str]]:
    """Keep all messages about a damaged image off the terminal.

    What other threads write meanwhile arrives a moment later. Images are decoded one at a time.

    Yields:
        The messages that tell of damage, once the block has ended.
    """
    damage: list[str] = []
    with opencv_silent(), _stderr_lock:
        try:
            kept = os.dup(_STDERR)
        except OSError:  # stderr is closed
            yield damage
            return
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115  (it outlives the block)
        except OSError:  # there is no room
            os.close(kept)
            yield damage
            return
        os.dup2(file.fileno(), _STDERR)
        try:
            yield damage
        finally:
            put_back(_STDERR, kept)
            with file:
                file.seek(0)
                text = file.read()
            lines = [line.decode("utf-8", "replace").strip() for line in _LIBRARY.findall(text)]
            damage += [line for line in lines if not _HARMLESS.match(line)]
            others = _LIBRARY.sub(b"", text)
            with suppress(OSError):  # nobody reads stderr any more
                while others:
                    others = others[os.write(_STDERR, others) :]
