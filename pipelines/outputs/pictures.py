"""Annotated pictures: an image file for each frame, of the frame's own size."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from vtrack.errors import SinkError, UsageError, spelled
from vtrack.pipelines.outputs.base import ExceptionType, Sink
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.files import whole_file
from vtrack.pipelines.outputs.paths import make_folder
from vtrack.pipelines.settings import OutputSettings
from vtrack.pipelines.sources.base import Source
from vtrack.types import FrameResult, ImageArray, Query

_QUALITY = {
    ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".jpeg": [cv2.IMWRITE_JPEG_QUALITY, 95],
    ".webp": [cv2.IMWRITE_WEBP_QUALITY, 95],
}
"""What OpenCV is told of each file format that loses detail."""
_MOST_NAMED = 3
"""Files named in a message."""


@dataclass
class PictureTarget:
    """Where pictures go."""

    path: Path
    """The folder."""
    overwrite: bool = True
    """Whether pictures that have appeared there in the meantime are replaced."""


class PictureFolder(Sink):
    """Writes annotated pictures into a folder, each complete when it appears.

    A picture has the name of the image file that its frame was read from; the frames of videos and of images in memory are
    numbered (`000123.jpg`).

    Args:
        path: The folder; made if absent.
        query: The points of the faces.
        draw: What to draw, see `DRAWINGS`.
    """

    def __init__(self, path: str | Path, query: Query, *, draw: Collection[str] = OutputSettings.draw) -> None:
        self.file = PictureTarget(Path(path))
        self._drawing = Drawing(query, draw)

    def __enter__(self) -> Self:
        make_folder(self.file.path)
        return self

    def write(self, result: FrameResult) -> None:
        """Write the picture of one frame."""
        target = self.file.path / picture_name(result.frame.file, result.index)
        write_picture(target, self._drawing(result), overwrite=self.file.overwrite)

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing is left to do: every picture is complete."""


def write_picture(path: Path, image: ImageArray, *, overwrite: bool = True) -> None:
    """Write an RGB image to a file that is complete when it appears; its folder is made if absent.

    Args:
        path: The file; its ending says the format.
        image: (height, width, 3) RGB.
        overwrite: Whether a file that has appeared in the meantime is replaced.

    Raises:
        SinkError: It cannot be written.
    """
    make_folder(path.parent)
    with whole_file(path, overwrite=overwrite) as part:
        part.write_bytes(_encoded(path, image[..., ::-1]))


def picture_name(file: str, index: int) -> str:
    """Name of the annotated picture of a frame, by the name of its image file, if it has one, and its index."""
    # A .pgm file is grey, and lines have colours.
    return str(Path(file).with_suffix(".ppm")) if file.lower().endswith(".pgm") else file or f"{index:06}.jpg"


def _encoded(path: Path, image: cv2.typing.MatLike) -> bytes:
    try:
        suffix = path.suffix.lower()
        return cv2.imencode(suffix, image, _QUALITY.get(suffix, []))[1].tobytes()
    except cv2.error as error:
        raise SinkError(f"cannot write {path}: OpenCV cannot encode an image of this size or format") from error


def check_picture_folder(folder: Path, source: Source, *, overwrite: bool = False) -> None:
    """Check before a run that annotated pictures can be written into a folder, which may hold others.

    Args:
        folder: The folder; it is made when the run begins.
        source: The opened source. Its own files are never replaced.
        overwrite: Whether existing pictures may be replaced.

    Raises:
        UsageError: The pictures would replace the photographs themselves.
        SinkError: The place is a file, or pictures exist already.
    """
    if folder.exists() and not folder.is_dir():
        raise SinkError(f"cannot write pictures into {folder}: it is a file; give a folder")
    if not folder.is_dir():
        return
    existing = []
    for name, path in source.files.items():
        target = folder / picture_name(name, 0)
        if target.exists():
            if target.samefile(path):
                raise UsageError(
                    f"annotated pictures would replace {path} itself; give {spelled('pictures')} another folder"
                )
            existing.append(target)
    if not source.files:
        existing = sorted(folder.glob("[0-9]" * 6 + ".jpg"))
    if existing and not overwrite:
        more = f" and {len(existing) - _MOST_NAMED} more" * (len(existing) > _MOST_NAMED)
        verb = "exists" if len(existing) == 1 else "exist"
        raise SinkError(
            f"{', '.join(map(str, existing[:_MOST_NAMED]))}{more} {verb} already; add {spelled('overwrite', True)} or choose "
            "another folder"
        )
