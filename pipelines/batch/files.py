"""Finds the videos of a batch (folders, patterns, lists, files, addresses) and the paths of their outputs."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.outputs.base import OUTPUT_MARK
from vtrack.pipelines.sources.images.files import is_animated, printable
from vtrack.pipelines.sources.open import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_address, natural_key

log = logging.getLogger(__name__)

_MAX_NAME = 200
"""Bytes of a file name without suffixes; file systems allow 255 with them."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video of a batch, or the images of one of its folders, and where its outputs go."""

    source: str
    """Path or address; of images their folder."""
    name: str
    """Name in messages and tables: its path in the input folder, with `/` on every system."""
    outputs: Path
    """Path of the outputs without their suffixes."""
    images: tuple[str, ...] = ()
    """Names of the images in the folder; empty for a video."""

    @property
    def is_file(self) -> bool:
        """Whether it is a file, or files, rather than an address."""
        return not is_address(self.source)

    @property
    def files(self) -> list[Path]:
        """The files that are read; none for an address."""
        if self.images:
            return [Path(self.source, name) for name in self.images]
        return [Path(self.source)] if self.is_file else []


@dataclass(frozen=True, slots=True)
class FilePatterns:
    """Which files of a folder to take, by patterns such as `*.mp4` or `raw/*`."""

    include: tuple[str, ...] = ()
    """Files to take; by default all with the suffix of a video or an image."""
    exclude: tuple[str, ...] = ()
    """Files and folders to leave out."""

    def takes(self, path: PurePosixPath) -> bool:
        """Whether to take a file, by its path in the input folder."""
        if path.name.startswith(".") or f"{OUTPUT_MARK}." in str(path) or self.excludes(path):
            return False
        if self.include:
            return _matches(path, self.include)
        return path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES

    def excludes(self, path: PurePosixPath) -> bool:
        """Whether to leave out a file or folder."""
        return _matches(path, self.exclude)


def find_videos(inputs: Sequence[str], out: Path, patterns: FilePatterns) -> list[Video]:
    """Find the videos of all inputs.

    Args:
        inputs: Folders, quoted glob patterns, lists (`.txt`, `.lst`), files and addresses.
        out: The output folder, which mirrors the folders of the inputs; it is not searched.
        patterns: Which files of folders to take.

    Returns:
        Each video, and each folder of images, once and in natural order.

    Raises:
        SourceError: An input does not exist, or there are no videos and images.
        UsageError: Two videos would have the same outputs.
    """
    paths: dict[str, PurePosixPath] = {}
    left_out: list[Path] = []
    for text in inputs:
        for source, path in _expand(text, out, patterns, left_out):
            paths.setdefault(source, PurePosixPath(printable(str(path))))
    if not paths:
        searched = ", ".join(patterns.include or sorted(VIDEO_SUFFIXES | IMAGE_SUFFIXES))
        raise SourceError(f"no videos and no images in {', '.join(inputs)} (looked for {searched})")
    if left_out:
        log.warning(
            "%d images in folders of videos are left out, such as %s; a pattern ('*%s') takes them",
            len(left_out), left_out[0], left_out[0].suffix,
        )  # fmt: skip
    images = _take_images(paths)
    stems = Counter(_folded(path if source in images else path.with_suffix("")) for source, path in paths.items())
    videos: dict[Path, Video] = {}
    for source, path in sorted(paths.items(), key=lambda item: [natural_key(part) for part in item[1].parts]):
        # `a.mp4` and `a.mov` keep their suffixes, because their outputs would have the same name.
        keep = source in images or stems[_folded(path.with_suffix(""))] > 1
        stem = path.name if keep else path.stem
        outputs = out.joinpath(*map(on_disk, (*path.parent.parts, _shorten(stem) + OUTPUT_MARK)))
        video = Video(source, str(path), outputs, tuple(sorted(images.get(source, ()), key=natural_key)))
        other = videos.setdefault(Path(_folded(video.outputs)), video)
        if other is not video:
            raise UsageError(
                f"{other.source} and {source} would both be written to {video.outputs}; give the folder that contains both"
            )
    return list(videos.values())


def _take_images(paths: dict[str, PurePosixPath]) -> dict[str, list[str]]:
    """Put the folder in the place of its images; return the names of those in each folder."""
    images: dict[str, list[str]] = {}
    for source, path in tuple(paths.items()):
        if not is_address(source) and path.suffix.lower() in IMAGE_SUFFIXES and not is_animated(Path(source)):
            folder = Path(source).parent
            images.setdefault(str(folder), []).append(Path(source).name)
            del paths[source]
            below = path.parent if path.parent.name else PurePosixPath(printable(folder.name) or "images")
            paths.setdefault(str(folder), below)
    return images


def on_disk(name: str) -> str:
    """A name as Python names the file whose name in UTF-8 it is; they differ where the locale is not UTF-8 (`LC_ALL=C`)."""
    return os.fsdecode(name.encode("utf-8", sys.getfilesystemencodeerrors()))


def _expand(text: str, out: Path, patterns: FilePatterns, left_out: list[Path]) -> Iterator[tuple[str, PurePosixPath]]:
    """The files of one input: absolute paths (or addresses), and their paths below the output folder.

    Images in folders of videos, which may be thumbnails, are added to `left_out` instead.
    """
    if is_address(text):
        yield text, _path_of_address(text)
        return
    path = Path(text)
    if path.is_dir():
        yield from _walk(path, out, patterns, left_out)
    elif path.is_file():
        if path.suffix.lower() in (".txt", ".lst"):
            yield from _read_list(path, out, patterns, left_out)
        else:
            yield str(path.absolute()), PurePosixPath(path.name)
    elif glob.has_magic(text):
        root = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        for match in sorted(root.glob(str(path.relative_to(root)))):
            below = PurePosixPath(match.relative_to(root).as_posix())
            if match.is_file() and patterns.takes(below):
                yield str(match.absolute()), below
    else:
        raise SourceError(f"{text}: no such file or folder, and not a pattern such as *.mp4")


def _walk(root: Path, out: Path, patterns: FilePatterns, left_out: list[Path]) -> Iterator[tuple[str, PurePosixPath]]:
    """The files of a folder and its subfolders; symbolic links are followed, but no folder is visited twice."""
    visited, outputs = set(), out.resolve()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        current = Path(folder)
        status = current.stat()
        if (status.st_dev, status.st_ino) in visited or (current != root and current.resolve() == outputs):
            subfolders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        base = PurePosixPath(current.relative_to(root).as_posix())
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and not patterns.excludes(base / name)
        )
        taken = [name for name in sorted(files) if patterns.takes(base / name) and (current / name).is_file()]
        of_videos = not patterns.include and any(Path(name).suffix.lower() in VIDEO_SUFFIXES for name in taken)
        for name in taken:
            if of_videos and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                left_out.append(current / name)
            else:
                yield str((current / name).absolute()), base / name


def _read_list(
    path: Path, out: Path, patterns: FilePatterns, left_out: list[Path]
) -> Iterator[tuple[str, PurePosixPath]]:
    """The videos of a list: one path or address per line, relative to the list's folder; lines with `#` are comments.

    A missing file becomes a failed video, like any other file that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise SourceError(f"{path}: cannot read the list: {error.strerror}") from error
    for line in (line.strip() for line in map(on_disk, text.splitlines())):
        if not line or line.startswith("#"):
            continue
        if is_address(line):
            yield line, _path_of_address(line)
            continue
        video = path.parent / line
        if video.is_dir():
            yield from (
                (source, _relative(Path(line)) / below) for source, below in _walk(video, out, patterns, left_out)
            )
        else:
            yield str(video.absolute()), _relative(Path(line))


def _relative(path: Path) -> PurePosixPath:
    """A path as a relative one: without the root of an absolute path, and without `..`."""
    return PurePosixPath(*(part for part in path.parts if part not in (path.anchor, "..", ".")))


def _path_of_address(address: str) -> PurePosixPath:
    parts = urlsplit(address)
    host = (parts.hostname or "stream") + (f"_{parts.port}" if parts.port else "")
    return PurePosixPath(host) / _relative(Path(parts.path or "stream"))


def _matches(path: PurePosixPath, patterns: Iterable[str]) -> bool:
    return any(fnmatch(str(path), pattern) or fnmatch(path.name, pattern) for pattern in patterns)


def _folded(path: Path | PurePosixPath) -> str:
    """A path without case, as file systems that ignore case compare it."""
    return str(path).casefold()


def _shorten(name: str) -> str:
    """A name that leaves room for suffixes: a long one is cut and gets a hash of the whole name."""
    data = name.encode()
    if len(data) <= _MAX_NAME:
        return name
    return f"{data[:_MAX_NAME].decode('utf-8', 'ignore')}~{hashlib.sha256(data).hexdigest()[:8]}"
