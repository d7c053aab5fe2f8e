"""Finds the videos of a batch (folders, patterns, lists, files, addresses) and the paths of their outputs."""

from __future__ import annotations

import glob
import hashlib
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.sources.images.files import printable
from vtrack.pipelines.sources.open import VIDEO_SUFFIXES, is_address, natural_key

OUTPUT_MARK = ".vtrack"
"""Part of the names of all outputs, so that no output is taken for an input."""
_MAX_NAME = 200
"""Bytes of a file name without suffixes; file systems allow 255 with them."""


@dataclass(frozen=True, slots=True)
class Video:
    """A video of a batch and where its outputs go."""

    source: str
    """Path or address."""
    name: str
    """Name in messages and tables: its path in the input folder, with `/` on every system."""
    outputs: Path
    """Path of the outputs without their suffixes."""

    @property
    def is_file(self) -> bool:
        """Whether it is a file rather than an address."""
        return not is_address(self.source)


@dataclass(frozen=True, slots=True)
class FilePatterns:
    """Which files of a folder to take, by patterns such as `*.mp4` or `raw/*`."""

    include: tuple[str, ...] = ()
    """Files to take; by default all with the suffix of a video."""
    exclude: tuple[str, ...] = ()
    """Files and folders to leave out."""

    def takes(self, path: PurePosixPath) -> bool:
        """Whether to take a file, by its path in the input folder."""
        if path.name.startswith(".") or f"{OUTPUT_MARK}." in path.name or self.excludes(path):
            return False
        if self.include:
            return _matches(path, self.include)
        return path.suffix.lower() in VIDEO_SUFFIXES

    def excludes(self, path: PurePosixPath) -> bool:
        """Whether to leave out a file or folder."""
        return _matches(path, self.exclude)


def find_videos(inputs: Sequence[str], out: Path, patterns: FilePatterns) -> list[Video]:
    """Find the videos of all inputs.

    Args:
        inputs: Folders, quoted glob patterns, lists (`.txt`, `.lst`), video files and addresses.
        out: The output folder, which mirrors the folders of the inputs; it is not searched.
        patterns: Which files of folders to take.

    Returns:
        Each video once, in natural order.

    Raises:
        SourceError: An input does not exist, or there are no videos.
        UsageError: Two videos would have the same outputs.
    """
    paths: dict[str, PurePosixPath] = {}
    for text in inputs:
        for source, path in _expand(text, out, patterns):
            paths.setdefault(source, PurePosixPath(printable(str(path))))
    if not paths:
        searched = ", ".join(patterns.include) if patterns.include else " ".join(sorted(VIDEO_SUFFIXES))
        raise SourceError(f"no videos in {', '.join(inputs)} (looked for {searched})")
    stems = Counter(_folded(path.with_suffix("")) for path in paths.values())
    videos: dict[Path, Video] = {}
    for source, path in sorted(paths.items(), key=lambda item: [natural_key(part) for part in item[1].parts]):
        # `a.mp4` and `a.mov` keep their suffixes, because their outputs would have the same name.
        stem = path.name if stems[_folded(path.with_suffix(""))] > 1 else path.stem
        video = Video(
            source, str(path), out.joinpath(*map(on_disk, (*path.parent.parts, _shorten(stem) + OUTPUT_MARK)))
        )
        other = videos.setdefault(Path(_folded(video.outputs)), video)
        if other is not video:
            raise UsageError(
                f"{other.source} and {source} would both be written to {video.outputs}; give the folder that contains both"
            )
    return list(videos.values())


def on_disk(name: str) -> str:
    """A name as Python names the file whose name in UTF-8 it is; they differ where the locale is not UTF-8 (`LC_ALL=C`)."""
    return os.fsdecode(name.encode("utf-8", sys.getfilesystemencodeerrors()))


def _expand(text: str, out: Path, patterns: FilePatterns) -> Iterator[tuple[str, PurePosixPath]]:
    """The videos of one input: absolute paths (or addresses), and their paths below the output folder."""
    if is_address(text):
        yield text, _path_of_address(text)
        return
    path = Path(text)
    if path.is_dir():
        yield from _walk(path, out, patterns)
    elif path.is_file():
        if path.suffix.lower() in (".txt", ".lst"):
            yield from _read_list(path, out, patterns)
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


def _walk(root: Path, out: Path, patterns: FilePatterns) -> Iterator[tuple[str, PurePosixPath]]:
    """The videos of a folder and its subfolders; symbolic links are followed, but no folder is visited twice."""
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
        for name in sorted(files):
            if patterns.takes(base / name) and (current / name).is_file():
                yield str((current / name).absolute()), base / name


def _read_list(path: Path, out: Path, patterns: FilePatterns) -> Iterator[tuple[str, PurePosixPath]]:
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
            yield from ((source, _relative(Path(line)) / below) for source, below in _walk(video, out, patterns))
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
