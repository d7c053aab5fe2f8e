"""What a source of frames is: facts known before reading, the frames that are wanted, and the frames themselves, once."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Self

from vtrack.errors import SourceError, UsageError
from vtrack.types import Frame

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source before its frames are read; None for what is not."""

    name: str
    """Short name for messages and tables: the file's name, or the address without its password."""
    path: str
    """What was opened: a path, pattern or address. The video sink opens it again to copy sound and subtitles."""
    width: int
    """Displayed width of every frame, in square pixels."""
    height: int
    """Displayed height."""
    time_base: Fraction
    """Unit of `Frame.pts`."""
    average_rate: Fraction | None
    """Frames per second on average."""
    frames: int | None
    """How many frames the whole source has, by its header; an estimate."""
    start_time: float
    """Seconds at which the whole source starts, on its own clock, which is that of `Frame.time`."""
    duration: float | None
    """Seconds of the whole source."""
    has_audio: bool = False
    has_subtitles: bool = False
    is_live: bool = False
    """Whether it may be impossible to open again and read the same, as with a stream or a camera."""

    @property
    def size(self) -> tuple[int, int]:
        """Displayed width and height."""
        return self.width, self.height


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames are wanted: start <= time < stop on the source's own clock, every n-th of those."""

    start: float | None = None
    stop: float | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every must be at least 1, got {self.every}")
        if self.start is not None and self.stop is not None and self.stop <= self.start:
            raise UsageError(f"stop ({self.stop:g} s) must come after start ({self.start:g} s)")

    def count(self, info: SourceInfo) -> int | None:
        """How many frames to expect, for a progress bar; None where nobody knows."""
        if info.frames is None:
            return None
        frames: float = info.frames
        if info.duration:
            end = info.start_time + info.duration
            first = info.start_time if self.start is None else max(info.start_time, self.start)
            last = end if self.stop is None else min(end, self.stop)
            frames *= max(0.0, last - first) / info.duration
        return max(1, round(frames / self.every))


class Source(ABC):
    """Frames in order, once. A context manager; reading to the end, breaking off and errors close it as well."""

    info: SourceInfo
    selection: Selection

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self._read = False

    @property
    def expected(self) -> int | None:
        """About how many frames will be delivered; None where nobody knows."""
        return self.selection.count(self.info)

    @property
    @abstractmethod
    def damaged(self) -> int:
        """How many packets or images could not be decoded so far."""

    def __iter__(self) -> Iterator[Frame]:
        if self._read:
            raise SourceError(f"{self.info.name}: a source is read once; open it again to read it again")
        self._read = True
        try:
            yield from self._frames()
        finally:
            self.close()
        if self.damaged:
            logger.warning("%s: damage in %d places; what was readable was read", self.info.name, self.damaged)

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """The frames of the selection."""

    @abstractmethod
    def close(self) -> None:
        """Let go of files and connections; may be called more than once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
