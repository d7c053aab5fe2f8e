"""Where frames come from: `open_source` takes a video file, a network address, a folder of images or a glob of them.

    with open_source("input.mp4", start=2, stop=8, every=2) as source:
        for frame in source:
            ...

Frames are upright, RGB, of one size, and carry the decoder's timestamps. What cannot be decoded is skipped and counted.
"""

from __future__ import annotations

import re
from pathlib import Path

from vtrack.errors import SourceError
from vtrack.pipelines.sources.base import Selection, Source
from vtrack.pipelines.sources.images import ImageFolder
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
        return VideoFile(str(source), selection, timeout, hwaccel)
    path = Path(source)
    if path.is_dir():
        return ImageFolder(path, _images_in(path), selection, fps)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            return ImageFolder(path, [path], selection, fps)
        return VideoFile(path, selection, timeout, hwaccel)
    if any(mark in str(path) for mark in "*?["):
        return ImageFolder(path, _images_like(path), selection, fps)
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
