"""Finding videos: folders, patterns, lists and single files, and where under the output folder each one's outputs go."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.sources.open import VIDEO_SUFFIXES, is_address, natural_key

MARK = ".vtrack"
"""What the names of outputs hold, so that no output is ever taken for an input."""
_LONGEST_NAME = 200
"""Bytes of a name that leave room for the endings of outputs; systems allow 255."""


@dataclass(frozen=True, slots=True)
class Video:
    """One video and where its outputs go."""

    source: str
    """Path or address."""
    name: str
    """What it is called in messages and tables: its place in the tree, with `/` on every system."""
    outputs: Path
    """Path of the outputs, but for their endings."""

    @property
    def is_file(self) -> bool:
        """Whether it is a file, not an address."""
        return not is_address(self.source)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which files of a tree are videos that are wanted; patterns like `*.mp4` or `raw/*`."""

    include: tuple[str, ...] = ()
    """Instead of all files whose ending is a video's."""
    exclude: tuple[str, ...] = ()

    def wants(self, place: PurePosixPath) -> bool:
        """Whether to take a file, by its place in the tree."""
        if place.name.startswith(".") or f"{MARK}." in place.name or self.excludes(place):
            return False
        if self.include:
            return _matches(place, self.include)
        return place.suffix.lower() in VIDEO_SUFFIXES

    def excludes(self, place: PurePosixPath) -> bool:
        """Whether a file or folder is left out."""
        return _matches(place, self.exclude)


def find_videos(inputs: Sequence[str], out: Path, wanted: Filter) -> list[Video]:
    """The videos of all inputs, each once, in natural order."""
    found: dict[str, PurePosixPath] = {}
    for text in inputs:
        for source, place in _expand(text, out, wanted):
            found.setdefault(source, PurePosixPath(printable(str(place))))
    if not found:
        looked = ", ".join(wanted.include) if wanted.include else " ".join(sorted(VIDEO_SUFFIXES))
        raise SourceError(f"no videos in {', '.join(inputs)} (looked for {looked})")
    stems = Counter(_folded(place.with_suffix("")) for place in found.values())
    videos: dict[Path, Video] = {}
    for source, place in sorted(found.items(), key=lambda item: [natural_key(part) for part in item[1].parts]):
        # `a.mp4` and `a.mov` keep their endings, for their outputs would have one name.
        stem = place.name if stems[_folded(place.with_suffix(""))] > 1 else place.stem
        video = Video(source, str(place), out.joinpath(*place.parent.parts, _short(stem) + MARK))
        other = videos.setdefault(Path(_folded(video.outputs)), video)
        if other is not video:
            raise UsageError(
                f"{other.source} and {source} would both be written to {video.outputs}; give the folder they share"
            )
    return list(videos.values())


def printable(text: str) -> str:
    """A name as text that can be written anywhere: bytes that are no UTF-8 are spelled out."""
    return os.fsencode(text).decode("utf-8", "backslashreplace").replace("\n", "\\n").replace("\r", "\\r")


def _expand(text: str, out: Path, wanted: Filter) -> Iterator[tuple[str, PurePosixPath]]:
    """What one input stands for: absolute paths (or addresses) and their places in the tree of outputs."""
    if is_address(text):
        yield text, _place_of_address(text)
        return
    path = Path(text)
    if path.is_dir():
        yield from _walk(path, out, wanted)
    elif path.is_file():
        if path.suffix.lower() in (".txt", ".lst"):
            yield from _listed(path, out, wanted)
        else:
            yield str(path.absolute()), PurePosixPath(path.name)
    elif glob.has_magic(text):
        root = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        for match in sorted(root.glob(str(path.relative_to(root)))):
            place = PurePosixPath(match.relative_to(root).as_posix())
            if match.is_file() and wanted.wants(place):
                yield str(match.absolute()), place
    else:
        raise SourceError(f"{text}: no such file or folder, and no pattern that anything could match")


def _walk(root: Path, out: Path, wanted: Filter) -> Iterator[tuple[str, PurePosixPath]]:
    """The videos of a folder and all below it; links are followed, but never in a circle."""
    seen, outputs = set(), out.resolve()
    for folder, below, files in os.walk(root, followlinks=True):
        here = Path(folder)
        status = here.stat()
        if (status.st_dev, status.st_ino) in seen or (here != root and here.resolve() == outputs):
            below.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        base = PurePosixPath(here.relative_to(root).as_posix())
        below[:] = sorted(name for name in below if not name.startswith(".") and not wanted.excludes(base / name))
        for name in sorted(files):
            if wanted.wants(base / name) and (here / name).is_file():
                yield str((here / name).absolute()), base / name


def _listed(path: Path, out: Path, wanted: Filter) -> Iterator[tuple[str, PurePosixPath]]:
    """What a list names, a path or address a line; paths are relative to the list's own folder, `#` begins a comment.

    A file that is not there is a job that fails, like any other file that cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise SourceError(f"{path}: the list cannot be read: {error.strerror}") from error
    for line in (line.strip() for line in lines):
        if not line or line.startswith("#"):
            continue
        if is_address(line):
            yield line, _place_of_address(line)
            continue
        video = path.parent / line
        if video.is_dir():
            yield from ((source, _inside(Path(line)) / place) for source, place in _walk(video, out, wanted))
        else:
            yield str(video.absolute()), _inside(Path(line))


def _inside(path: Path) -> PurePosixPath:
    """The place of a path that was written down: as it is written, whole where it is absolute, never above the top."""
    return PurePosixPath(*(part for part in path.parts if part not in (path.anchor, "..", ".")))


def _place_of_address(address: str) -> PurePosixPath:
    parts = urlsplit(address)
    host = (parts.hostname or "stream") + (f"_{parts.port}" if parts.port else "")
    return PurePosixPath(host) / _inside(Path(parts.path or "stream"))


def _matches(place: PurePosixPath, patterns: Iterable[str]) -> bool:
    return any(fnmatch(str(place), pattern) or fnmatch(place.name, pattern) for pattern in patterns)


def _folded(path: Path | PurePosixPath) -> str:
    """The same for names that a file system without upper and lower case cannot tell apart."""
    return str(path).casefold()


def _short(name: str) -> str:
    """The name, or its beginning and a mark of the whole where endings would make it too long for the file system."""
    data = os.fsencode(name)
    if len(data) <= _LONGEST_NAME:
        return name
    return f"{data[:_LONGEST_NAME].decode('utf-8', 'ignore')}~{hashlib.sha256(data).hexdigest()[:8]}"
