"""`open_source`: chooses the source for a path, a folder, a pattern, a network address, or images in memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vtrack.errors import SourceError, UsageError, spelled
from vtrack.pipelines.settings import InputSettings, Selection
from vtrack.pipelines.sources.base import Source
from vtrack.pipelines.sources.images.animated_webp import AnimatedWebP
from vtrack.pipelines.sources.images.files import are_frames_of_a_film, check_size
from vtrack.pipelines.sources.images.headers import read_header
from vtrack.pipelines.sources.images.photographs import PhotographSet
from vtrack.pipelines.sources.images.sequence import ImageSequence
from vtrack.pipelines.sources.pipe import open_stdin
from vtrack.pipelines.sources.video import VideoFile
from vtrack.types import ImageArray

Readable = str | Path | ImageArray | Iterable[str | Path | ImageArray] | Source
"""What frames can be read from: a file, folder, pattern or address; an image or a stack of them; image files or images, in a
list or from a generator; a source."""
IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)
STDIN = "-"
"""What stands for stdin; a file of this name is written as `./-`."""
_OF_FILMS = frozenset({"smooth", "strength", "strengths", "detect_every", "neutral"})
"""Settings that do nothing for photographs."""
NETWORK_SCHEMES = frozenset({"http", "https", "rtmp", "rtmps", "rtp", "rtsp", "rtsps", "srt", "tcp", "udp"})


def open_source(
    source: Readable,
    *,
    start: float | None = InputSettings.start,
    stop: float | None = InputSettings.stop,
    every: int = InputSettings.every,
    fps: float = InputSettings.fps,
    times: Iterable[float] | None = None,
    timeout: float = 15,
    hwaccel: str = InputSettings.hwaccel,
    images: str = InputSettings.images,
    max_pixels: int = InputSettings.max_pixels,
) -> Source:
    """Open a video file, network address, image, folder or glob pattern of images, or images in memory.

    Frames are upright and RGB. Those of a video are of one size and carry the decoder's timestamps; photographs
    (`SourceInfo.photographs`) have their own sizes and no time. Data that cannot be decoded is skipped and counted in
    `Source.damaged`.

    Args:
        source: Path of a file or folder, glob pattern, address such as `rtsp://camera/1`, or `-` for a video from stdin; a
            (height, width, 3) `uint8` RGB array or a (frames, height, width, 3) stack of them; a list or generator of image
            files or such arrays. A `Source` is returned as it is.
        start: First time to read, in seconds on the source's own clock (the table's `time_s`).
        stop: End in seconds, excluded.
        every: Read every n-th frame, counted from the first one read.
        fps: Frames per second of images, which have no clock.
        times: Seconds at which the images are displayed, instead of `fps`; finite and growing, one for each image.
        timeout: Seconds that a network source may stay silent.
        hwaccel: Hardware decoder, such as cuda (NVDEC), qsv or videotoolbox, where PyAV is built with it; "none" decodes
            on the CPU.
        images: What several images are: `photographs`, a film's `sequence`, or `auto`: a sequence if they are numbered and of
            one size, or in memory; else photographs.
        max_pixels: Largest number of pixels of an image file or video frame; larger ones are not decoded.

    Returns:
        An opened source; use it as a context manager.

    Raises:
        UsageError: An argument is invalid or does not apply, the times do not grow, or an image is not `uint8` RGB.
        SourceError: There is nothing to read; the message says why in one line.

    Examples:
        >>> import vtrack
        >>> with vtrack.open_source("samples/sample.mp4", start=0.1, stop=0.3, every=2) as source:
        ...     for frame in source:
        ...         print(frame)
        Frame(index=3, time=0.100000, size=640x480)
        Frame(index=5, time=0.166667, size=640x480)
        Frame(index=7, time=0.233333, size=640x480)
    """
    selection = Selection(start=start, stop=stop, every=every)
    options = InputSettings(
        start=start, stop=stop, every=every, fps=fps, hwaccel=hwaccel, images=images, max_pixels=max_pixels
    )
    if isinstance(source, Source):
        if selection != Selection() or times is not None or fps != InputSettings.fps:
            raise UsageError("a source has its own start, stop, every and times; give them where it is made")
        return source
    if not isinstance(source, str | Path):
        return _images_of(source, selection, options, times)
    if times is not None:
        raise UsageError(
            "times are for images in memory or in a list; files, folders and addresses have their own or take fps"
        )
    return _open_path(source, selection, options, timeout)


def _open_path(source: str | Path, selection: Selection, options: InputSettings, timeout: float) -> Source:
    """Open what a path, pattern or address names."""
    if source == STDIN:
        return VideoFile(open_stdin(), selection, timeout, options.hwaccel, options.max_pixels)
    if is_address(source):
        return VideoFile(str(source), selection, timeout, options.hwaccel, options.max_pixels)
    path = Path(source)
    if path.is_dir():
        return open_images(path, _folder_images(path), options)
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES | {".gif"}:
            return _open_image(path, selection, options, timeout)
        return VideoFile(path, selection, timeout, options.hwaccel, options.max_pixels)
    if any(mark in str(path) for mark in "*?["):
        return open_images(path, _matching_images(path), options)
    if path.exists():
        raise SourceError(f"{path}: not a file or folder")
    raise SourceError(f"{path}: no such file or folder")


def _open_image(path: Path, selection: Selection, options: InputSettings, timeout: float) -> Source:
    """Open an image file: a photograph, or an animation, which is a video."""
    try:
        header = read_header(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if path.suffix.lower() != ".gif" and (header is None or not header.is_animated):
        return open_images(path, [path], options)
    if header is not None:
        check_size(path, header.width, header.height, options.max_pixels)
    with path.open("rb") as file:
        if file.read(4) == b"RIFF":
            return AnimatedWebP(path, selection, options.max_pixels)
    return VideoFile(path, selection, timeout, options.hwaccel, options.max_pixels)


def open_images(name: Path, paths: Sequence[Path], options: InputSettings) -> Source:
    """Open image files: the frames of a film, or photographs.

    Args:
        name: Their folder, their pattern, or the one file.
        paths: The files, in order.
        options: Which of them are read, and how.

    Raises:
        UsageError: A setting does not apply.
        SourceError: None of them can be read.
    """
    selection = options.selection
    if options.images == "sequence" or (options.images == "auto" and are_frames_of_a_film(paths)):
        return ImageSequence(name, paths, selection, options.fps, max_pixels=options.max_pixels)
    return PhotographSet(name, paths, selection, options.max_pixels)


def _images_of(images: Any, selection: Selection, options: InputSettings, times: Iterable[float] | None) -> Source:
    """Open images in memory: an image, a stack, a list or a generator."""
    if isinstance(images, np.ndarray):
        if images.ndim not in (3, 4):
            raise UsageError(
                "images are uint8 RGB arrays of shape (height, width, 3), stacks (frames, height, width, 3); "
                f"got {images.dtype} {images.shape}"
            )
        images = images[None] if images.ndim == 3 else images
    elif not isinstance(images, Iterable) or isinstance(images, bytes | dict):
        raise UsageError(
            "a source is a path, an address, an image array, a list or generator of images, or a vtrack.Source (and for "
            f"track a camera's number); got {images!r}"
        )
    if isinstance(images, Sequence):
        paths = [Path(image) for image in images if isinstance(image, str | Path)]
        _check_files(paths)
        if times is None and images and _are_photographs(images, paths, options.images):
            return PhotographSet("images", images, selection, options.max_pixels)
    return ImageSequence("images", images, selection, options.fps, times, options.max_pixels)


def _are_photographs(images: Sequence[Any], paths: Sequence[Path], kind: str) -> bool:
    """Whether the images of a list are photographs rather than the frames of a film."""
    if kind != "auto":
        return kind == "photographs"
    if len(paths) == len(images):
        return not are_frames_of_a_film(paths)
    return len({image.shape for image in images if isinstance(image, np.ndarray)}) > 1


def _check_files(paths: Iterable[Path]) -> None:
    """Check that the files of a list are there and no videos."""
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            raise SourceError(f"{path}: a video in a list of images; track one video at a time")
        if not path.is_file():
            raise SourceError(f"{path}: no such file")


def check_applies(given: Collection[str], source: Source) -> None:
    """Raise `UsageError` if one of the settings that were `given` changes nothing for this source.

    Args:
        given: Names of fields of `InputSettings` and `Settings`.
        source: The opened source.
    """
    name, photographs = source.info.name, source.info.photographs
    images = photographs or isinstance(source, ImageSequence)
    of_films = [each for each in sorted(given) if each.partition(".")[0] in _OF_FILMS]
    if photographs and of_films:
        option = spelled(of_films[0], flag=f"--{of_films[0].replace('strengths', 'smooth').replace('_', '-')}")
        raise UsageError(f"{option} applies to films only; {name} is photographs, each by itself")
    if "fps" in given and photographs:
        film = spelled("images", "sequence")
        raise UsageError(f"{spelled('fps')} applies to films only; {name} is photographs, of which {film} makes a film")
    if "fps" in given and not images:
        raise UsageError(f"{spelled('fps')} applies to images only; {name} has its own times")
    if "hwaccel" in given and images:
        raise UsageError(f"{spelled('hwaccel')} applies to video only; {name} is images")
    if "images" in given and not images:
        raise UsageError(f"{spelled('images')} applies to images only; {name} is a video")


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
    videos = sum(path.suffix.lower() in VIDEO_SUFFIXES for path in files)
    if videos:
        holds = f"{folder}: holds {videos} video{'s' * (videos > 1)}"
        if not images:
            raise SourceError(f"{holds}, no images; try `vtrack batch {folder}`")
        ((suffix, _),) = Counter(path.suffix for path in images).most_common(1)
        raise SourceError(
            f"{holds} and {len(images)} image{'s' * (len(images) > 1)}; for the videos try `vtrack batch {folder}`, for the "
            f"images the pattern '{folder / f'*{suffix}'}'"
        )
    if not images:
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
