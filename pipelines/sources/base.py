"""The base class of frame sources, the facts known before reading, and the selection of frames."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from vtrack.errors import SourceError
from vtrack.pipelines.settings import Selection
from vtrack.types import Frame

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Facts about a source that are known before its frames are read; None where unknown.

    Examples:
        >>> import vtrack
        >>> info = vtrack.open_source("samples/sample.mp4").info
        >>> info.size, info.frames, info.duration, float(info.average_rate)
        ((640, 480), 270, 9.0, 30.0)
    """

    name: str
    """Short name for messages and tables: the file's name, or the address without its password."""
    width: int
    """Displayed width of every frame, in square pixels; of photographs that of the first one."""
    height: int
    """Displayed height of every frame, in square pixels; of photographs that of the first one."""
    time_base: Fraction
    """Unit of `Frame.pts`, in seconds."""
    path: str = ""
    """The path, pattern or address that was opened; empty for frames in memory and pipes. The video sink opens it
    again to copy sound and subtitles."""
    average_rate: Fraction | None = None
    """Average frames per second."""
    frames: int | None = None
    """Number of frames in the whole source according to its header; an estimate."""
    start_time: float = 0.0
    """Start of the whole source in seconds, on the same clock as `Frame.time`."""
    duration: float | None = None
    """Duration of the whole source in seconds."""
    has_audio: bool = False
    has_subtitles: bool = False
    is_live: bool = False
    """True for streams, pipes and cameras, which cannot be opened again to read the same frames."""
    photographs: bool = False
    """True where each frame is a picture by itself, of its own size and without a time: nothing is tracked or smoothed."""

    @property
    def size(self) -> tuple[int, int]:
        """Displayed width and height in pixels."""
        return self.width, self.height


def expected_frames(selection: Selection, info: SourceInfo) -> int | None:
    """Estimate the number of selected frames, for a progress bar; None where it is unknown."""
    if info.frames is None:
        return None
    frames: float = info.frames
    if info.duration:
        end = info.start_time + info.duration
        first = info.start_time if selection.start is None else max(info.start_time, selection.start)
        last = end if selection.stop is None else min(end, selection.stop)
        frames *= max(0.0, last - first) / info.duration
    return max(1, round(frames / selection.every))


class Source(ABC):
    """Base class of sources: an iterable of frames in display order, which can be read once.

    A source is a context manager. It also closes itself at the end of the frames, when the reader stops early, and on
    errors. A source of your own sets `info` and implements `frames`; where it holds files or counts damage, also `close`
    and `damaged`.

    Args:
        selection: Which frames `frames` yields; all by default.

    Examples:
        >>> from fractions import Fraction
        >>> import numpy as np
        >>> import vtrack
        >>> class Static(vtrack.Source):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.info = vtrack.SourceInfo("static", width=320, height=240, time_base=Fraction(1, 25))
        ...     def frames(self):
        ...         for i in range(3):
        ...             image = np.zeros((240, 320, 3), np.uint8)
        ...             yield vtrack.Frame(image, index=i, pts=i, time_base=self.info.time_base)
        >>> [result.time for result in vtrack.track(Static())]
        [0.0, 0.04, 0.08]
    """

    info: SourceInfo
    selection: Selection
    failure: SourceError | None = None
    """Why the last image could not be decoded, where that is known."""

    def __init__(self, selection: Selection | None = None) -> None:
        self.selection = Selection() if selection is None else selection
        self._read = False

    def __repr__(self) -> str:
        width, height = self.info.size
        return f"{type(self).__name__}({self.info.name}, {width}x{height})"

    @property
    def expected(self) -> int | None:
        """Estimated number of frames that will be read; None where it is unknown."""
        return expected_frames(self.selection, self.info)

    @property
    def damaged(self) -> int:
        """Number of packets or images that could not be decoded so far."""
        return 0

    @property
    def files(self) -> Mapping[str, Path]:
        """The image files that the frames are read from, by their names in tables (`Frame.file`); empty for other sources."""
        return {}

    def __iter__(self) -> Iterator[Frame]:
        if self._read:
            raise SourceError(f"{self.info.name}: a source can be read only once; open it again to read it again")
        self._read = True
        try:
            yield from self.frames()
        finally:
            self.close()
        if self.damaged and not self.info.photographs:  # of photographs each is named
            places = "1 place" if self.damaged == 1 else f"{self.damaged} places"
            last = f"; the last: {self.failure}" if self.failure else ""
            log.warning("%s: skipped damaged data in %s%s", self.info.name, places, last)

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Yield the frames of the selection; but for photographs of one size and in order of growing time. Called once."""

    def close(self) -> None:  # noqa: B027  most sources of one's own have nothing to close
        """Close files and connections; may be called more than once."""

    def abandon(self) -> None:  # noqa: B027  most sources never wait for long
        """End a wait for the next frame, because nobody wants it any more; called from another thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
