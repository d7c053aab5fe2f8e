"""Image files: reading one, and telling photographs from the numbered frames of a film."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Sequence
from math import gcd
from pathlib import Path

import cv2
import numpy as np

from vtrack.errors import SourceError, spelled
from vtrack.imaging.messages import decoding
from vtrack.pipelines.settings import InputSettings
from vtrack.pipelines.sources.images.headers import PictureHeader, read_header
from vtrack.types import ImageArray

_MAX_MISSING = 0.1
"""Largest share of the numbers of a film's frames that may be missing."""

log = logging.getLogger(__name__)


def read_picture(path: Path, max_pixels: int = InputSettings.max_pixels) -> ImageArray:
    """Read an image file as (H, W, 3) RGB, upright by its EXIF orientation. A warning names one that is damaged in part.

    Args:
        path: The file.
        max_pixels: Largest number of pixels that is decoded.

    Raises:
        SourceError: It cannot be read, is larger, is animated, or is no image; the message says so in one line.
    """
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread fails on non-ASCII names on Windows
        header = read_header(path)
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such file") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not data.size:
        raise SourceError(f"{path}: the file is empty (0 bytes)")
    if header is None:
        raise SourceError(f"{path}: not an image, or its header is damaged")
    check_size(path, header.width, header.height, max_pixels)
    if header.is_animated:
        raise SourceError(f"{path}: an animation, not a photograph; track it by itself, as a video")
    try:
        with decoding() as damage:
            image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        image = None
    if image is None:
        raise SourceError(f"{path}: a damaged or unusual image, which cannot be decoded")
    if damage:
        log.warning("%s: a damaged image, parts of which may be wrong: %s", path, damage[0])
    return image.astype(np.uint8, copy=False)


def check_size(name: str | Path, width: int, height: int, max_pixels: int) -> None:
    """Raise `SourceError` for an image or video whose frames have more pixels than are allowed."""
    if width * height > max_pixels:
        raise SourceError(
            f"{name}: {width}x{height} pixels are more than {spelled('max_pixels', max_pixels)} allows; raise it if memory "
            "suffices"
        )


def are_frames_of_a_film(paths: Sequence[Path]) -> bool:
    """Whether image files are the frames of a film: of one size, numbered, and not taken by a camera one by one.

    Their names must differ in one number alone, with at most one in ten missing; the make of a camera in the EXIF data marks a
    photograph.
    """
    if len(paths) < 2 or not _are_numbered([path.name for path in paths]):
        return False
    size: tuple[int, int] | None = None
    for header in map(_header, paths):
        if header is None:  # a damaged frame is skipped later
            continue
        if header.by_camera or (size is not None and size != (header.width, header.height)):
            return False
        size = header.width, header.height
    return True


def is_animated(path: Path) -> bool:
    """Whether an image file is an animation, by its header."""
    header = _header(path) if path.suffix.lower() in (".png", ".webp") else None
    return header is not None and header.is_animated


def _header(path: Path) -> PictureHeader | None:
    try:
        return read_header(path)
    except OSError:
        return None


def _are_numbered(names: Sequence[str]) -> bool:
    """Whether names differ in one number alone, whose steps are even but for a few that are missing."""
    pieces = [re.split(r"(\d+)", name) for name in names]
    if len({len(each) for each in pieces}) > 1:
        return False
    # Between the texts, every number but one is the same in all names; leading zeros do not matter.
    columns = list(zip(*pieces, strict=True))
    numbers = [{int(number) for number in column} for column in columns[1::2]]
    varying = [each for each in numbers if len(each) > 1]
    if any(len(set(column)) > 1 for column in columns[::2]) or len(varying) != 1 or len(varying[0]) < len(names):
        return False
    ordered = sorted(varying[0])
    step = gcd(*np.diff(ordered).tolist())
    expected = (ordered[-1] - ordered[0]) // step + 1
    return len(ordered) >= (1 - _MAX_MISSING) * expected


def names_of(paths: Sequence[Path]) -> dict[str, Path]:
    """The files by their names in tables: paths below the deepest folder that holds all of them, with `/` on every system."""
    absolute = [path.absolute() for path in paths]
    try:
        root = Path(os.path.commonpath([path.parent for path in absolute]))
    except ValueError:  # there are none, or they are on several drives
        return {printable(path.name): path for path in paths}
    return {printable(path.relative_to(root).as_posix()): given for path, given in zip(absolute, paths, strict=True)}


def printable(text: str) -> str:
    """A file name as printable text: bytes that are not UTF-8, and line breaks, are escaped."""
    data = text.encode("utf-8", sys.getfilesystemencodeerrors())
    return data.decode("utf-8", "backslashreplace").replace("\n", "\\n").replace("\r", "\\r")
