"""Where frames come from: `open_source` takes a video file, a network address, a folder of images or a glob of them.

    with open_source("input.mp4", start=2, stop=8, every=2) as source:
        for frame in source:
            ...

Frames are upright, RGB, of one size, and carry the decoder's timestamps. What cannot be decoded is skipped and counted.
"""

from __future__ import annotations

import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

from vtrack.errors import SourceError, UsageError
from vtrack.types import Frame

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
NETWORK_SCHEMES = frozenset({"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})


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


def open_source(
    source: str | Path,
    *,
    start: float | None = None,
    stop: float | None = None,
    every: int = 1,
    fps: float = 25,
    timeout: float = 15,
    hwaccel: str = "none",
) -> Source:
    """Open a video file, http/RTSP address, image, folder of images or glob of images.

    `start` and `stop` are seconds on the source's own clock (the table's `time_s`), stop excluded; `every` takes each
    n-th frame from the first one on. `fps` is the rate of images, which have no clock. `timeout` is how many seconds a
    network source may be silent. `hwaccel` names what else than the CPU decodes video: cuda (NVDEC), qsv, videotoolbox and
    the like, where PyAV is built with it. Raises `SourceError`, with one line that says why, where there is nothing to read.
    """
    selection = Selection(start, stop, every)
    if is_address(source):
        return _open_video(str(source), selection, timeout, hwaccel)
    path = Path(source)
    if path.is_dir():
        return _open_images(path, _images_in(path), selection, fps)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return _open_images(path, [path], selection, fps)
        return _open_video(path, selection, timeout, hwaccel)
    if any(mark in str(path) for mark in "*?["):
        return _open_images(path, _images_like(path), selection, fps)
    if path.exists():
        raise SourceError(f"{path}: not a file or folder")
    raise SourceError(f"{path}: no such file or folder")


def is_address(source: str | Path) -> bool:
    """Whether this is a network address; SourceError for a protocol that is not one of ours."""
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", str(source)) if isinstance(source, str) else None
    if match is None:
        return False
    if match[1].lower() not in NETWORK_SCHEMES:
        raise SourceError(f"{source}: cannot read {match[1]}:// addresses, only {', '.join(sorted(NETWORK_SCHEMES))}")
    return True


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts img2 before img10, whatever the case."""
    pieces = [piece for piece in re.split(r"(\d+)", name.lower()) if piece]
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces] + [(2, 0, name)]


def _images_in(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        videos = sum(path.suffix.lower() in VIDEO_SUFFIXES for path in files)
        if videos:
            raise SourceError(
                f"{folder}: a folder of {videos} video{'s' * (videos > 1)}, not of images; try `vtrack batch {folder}`"
            )
        raise SourceError(f"{folder}: no images in this folder (looked for {' '.join(sorted(IMAGE_SUFFIXES))})")
    return sorted(images, key=lambda path: natural_key(path.name))


def _images_like(pattern: Path) -> list[Path]:
    # A folder's own name may hold brackets, so only what does not exist as it is written is a pattern.
    folder = pattern.parent if pattern.parent.is_dir() else Path(pattern.anchor)
    matches = [path for path in folder.glob(str(pattern.relative_to(folder))) if path.is_file()]
    images = [path for path in matches if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images and matches:
        raise SourceError(f"{pattern}: matches no images; a folder of videos goes to `vtrack batch`")
    if not images:
        raise SourceError(f"{pattern}: nothing matches this pattern")
    return sorted(images, key=lambda path: [natural_key(part) for part in path.parts])


def _open_images(path: Path, images: list[Path], selection: Selection, fps: float) -> Source:
    from pipelines.images import ImageFolder

    return ImageFolder(path, images, selection, fps)


def _open_video(path: str | Path, selection: Selection, timeout: float, hwaccel: str) -> Source:
    from pipelines.videofile import VideoFile

    return VideoFile(path, selection, timeout, hwaccel)
