"""`open_source`: chooses the source for a path, a folder, a pattern or a network address."""

from __future__ import annotations

import re
from pathlib import Path

from vtrack.errors import SourceError
from vtrack.pipelines.settings import InputSettings, Selection
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.images import ImageSequence
from vtrack.pipelines.sources.video import VideoFile

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
NETWORK_SCHEMES = frozenset({"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})


def open_source(
    source: str | Path,
    *,
    start: float | None = InputSettings.start,
    stop: float | None = InputSettings.stop,
    every: int = InputSettings.every,
    fps: float = InputSettings.fps,
    timeout: float = 15,
    hwaccel: str = InputSettings.hwaccel,
) -> Source:
    """Open a video file, network address, image, folder of images or glob pattern of images.

    Frames are upright, RGB and of one size, and carry the decoder's timestamps. Data that cannot be decoded is skipped
    and counted in `Source.damaged`.

    Args:
        source: Path of a file or folder, glob pattern, or address such as `rtsp://camera/1`.
        start: First time to read, in seconds on the source's own clock (the table's `time_s`).
        stop: End in seconds, excluded.
        every: Read every n-th frame, counted from the first one read.
        fps: Frames per second of image sequences, which have no clock.
        timeout: Seconds that a network source may stay silent.
        hwaccel: Hardware decoder, such as cuda (NVDEC), qsv or videotoolbox, where PyAV is built with it; "none" decodes
            on the CPU.

    Returns:
        An opened source; use it as a context manager.

    Raises:
        UsageError: The selection or `hwaccel` is invalid.
        SourceError: There is nothing to read; the message says why in one line.

    Example:
        with open_source("input.mp4", start=2, stop=8, every=2) as source:
            for frame in source:
                print(frame.index, frame.time)
    """
    selection = Selection(start=start, stop=stop, every=every)
    if is_address(source):
        return VideoFile(str(source), selection, timeout, hwaccel)
    path = Path(source)
    if path.is_dir():
        return ImageSequence(path, _folder_images(path), selection, fps)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return ImageSequence(path, [path], selection, fps)
        return VideoFile(path, selection, timeout, hwaccel)
    if any(mark in str(path) for mark in "*?["):
        return ImageSequence(path, _matching_images(path), selection, fps)
    if path.exists():
        raise SourceError(f"{path}: not a file or folder")
    raise SourceError(f"{path}: no such file or folder")


def is_address(source: str | Path) -> bool:
    """Return whether `source` is a network address.

    Raises:
        SourceError: It is an address of an unsupported protocol.
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", str(source)) if isinstance(source, str) else None
    if match is None:
        return False
    if match[1].lower() not in NETWORK_SCHEMES:
        raise SourceError(f"{source}: cannot read {match[1]}:// addresses, only {', '.join(sorted(NETWORK_SCHEMES))}")
    return True


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Return a sort key that puts img2 before img10 and ignores case."""
    pieces = [piece for piece in re.split(r"(\d+)", name.lower()) if piece]
    return [(0, int(piece), "") if piece.isdecimal() else (1, 0, piece) for piece in pieces] + [(2, 0, name)]


def _folder_images(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        videos = sum(path.suffix.lower() in VIDEO_SUFFIXES for path in files)
        if videos:
            raise SourceError(
                f"{folder}: holds {videos} video{'s' * (videos > 1)}, no images; try `vtrack batch {folder}`"
            )
        raise SourceError(f"{folder}: no images in this folder (looked for {' '.join(sorted(IMAGE_SUFFIXES))})")
    return sorted(images, key=lambda path: natural_key(path.name))


def _matching_images(pattern: Path) -> list[Path]:
    # The name of an existing folder may hold brackets: it is taken as written, not as part of the pattern.
    folder = pattern.parent if pattern.parent.is_dir() else Path(pattern.anchor)
    matches = [path for path in folder.glob(str(pattern.relative_to(folder))) if path.is_file()]
    images = [path for path in matches if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images and matches:
        raise SourceError(f"{pattern}: matches no images; for videos use `vtrack batch`")
    if not images:
        raise SourceError(f"{pattern}: nothing matches this pattern")
    return sorted(images, key=lambda path: [natural_key(part) for part in path.parts])
