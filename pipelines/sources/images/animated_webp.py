"""Animated WebP files as a source. FFmpeg reads only their first frame, if any, and OpenCV only all frames at once.

The container is a list of frames, each with its place on the canvas and its duration, and each a WebP image but for a header
of its own. So one after the other is decoded by OpenCV and put on the canvas.
https://developers.google.com/speed/webp/docs/riff_container
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from vtrack.errors import SourceError
from vtrack.imaging.messages import decoding
from vtrack.pipelines.settings import InputSettings, Selection
from vtrack.pipelines.sources.base import Source, SourceInfo
from vtrack.pipelines.sources.images.files import check_size
from vtrack.types import Frame, ImageArray, in_seconds

_MILLISECONDS = Fraction(1, 1000)
_DEFAULT_DURATION = 100
"""Milliseconds of a frame whose duration is 0, as browsers show it."""
_ALPHA_FLAG = 0x10


@dataclass(frozen=True, slots=True)
class _Drawing:
    """One frame as it is stored."""

    index: int
    pts: int
    duration: int
    x: int
    y: int
    width: int
    height: int
    blends: bool
    """Whether it is blended over the canvas; else it replaces that part of it."""
    clears: bool
    """Whether its part of the canvas is cleared after it was shown."""
    data: bytes
    """Chunks of a WebP image without its header."""


class AnimatedWebP(Source):
    """An animated WebP file as a source, frame by frame at its own times; what is transparent is black.

    Args:
        path: The file.
        selection: Which frames to read.
        max_pixels: Largest number of pixels of the canvas.

    Raises:
        SourceError: It is damaged or too large, or the selection holds no frame.
    """

    def __init__(self, path: Path, selection: Selection, max_pixels: int = InputSettings.max_pixels) -> None:
        super().__init__(selection)
        self._data = path.read_bytes()
        self._damaged = 0
        width, height = (int.from_bytes(self._data[at : at + 3], "little") + 1 for at in (24, 27))
        check_size(path, width, height, max_pixels)
        self._canvas = np.zeros((height, width, 4), np.uint8)
        drawings = list(self._drawings())
        if not drawings:
            raise SourceError(f"{path}: an animation without a frame; the file is damaged")
        end = drawings[-1].pts + drawings[-1].duration
        self._frames = self._select(iter(drawings))
        self._first = next(self._frames, None)
        if self._first is None:
            undecodable = f" ({self._damaged} damaged)" if self._damaged else ""
            raise SourceError(f"{path}: no frame between start and stop; it ends at {end / 1000:g} s{undecodable}")
        self.info = SourceInfo(
            name=path.name,
            path=str(path),
            width=width,
            height=height,
            time_base=_MILLISECONDS,
            average_rate=Fraction(1000 * len(drawings), end),
            frames=len(drawings),
            duration=end / 1000,
        )

    @property
    def damaged(self) -> int:
        """Number of frames that could not be decoded so far."""
        return self._damaged

    def frames(self) -> Iterator[Frame]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        yield from self._frames

    def _select(self, drawings: Iterator[_Drawing]) -> Iterator[Frame]:
        """Draw all frames, since each may show parts of those before; yield those of the selection."""
        start, stop, every = self.selection.start, self.selection.stop, self.selection.every
        count = 0
        for drawing in drawings:
            time = in_seconds(drawing.pts, _MILLISECONDS)
            if stop is not None and time >= stop:
                return
            drawn = self._draw(drawing)
            if drawn and (start is None or time >= start):
                if count % every == 0:
                    image: ImageArray = np.ascontiguousarray(self._canvas[..., 2::-1])
                    yield Frame(image, drawing.index, drawing.pts, _MILLISECONDS)
                count += 1
            if drawn and drawing.clears:
                self._canvas[_part(drawing)] = 0

    def _draw(self, drawing: _Drawing) -> bool:
        """Put a frame on the canvas; False if it cannot be decoded."""
        image = _decode(drawing)
        canvas = self._canvas[_part(drawing)]
        if image is None or image.shape[:2] != canvas.shape[:2]:
            self._damaged += 1
            return False
        if image.shape[2] == 3:
            canvas[..., :3], canvas[..., 3] = image, 255
        elif drawing.blends:
            canvas[:] = _blended(canvas, image)
        else:
            canvas[:] = image
        return True

    def _drawings(self) -> Iterator[_Drawing]:
        """Yield the frames as they are stored; counts the last one if the file was cut off in it."""
        place, index, pts = 12, 0, 0
        while place + 8 <= len(self._data):
            name, length = struct.unpack_from("<4sI", self._data, place)
            body = self._data[place + 8 : place + 8 + length]
            place += 8 + length + length % 2
            if name != b"ANMF":
                continue
            if len(body) < max(length, 16):
                self._damaged += 1
                return
            x, y, width, height, duration = (int.from_bytes(body[at : at + 3], "little") for at in range(0, 15, 3))
            duration = duration or _DEFAULT_DURATION
            flags = body[15]
            yield _Drawing(
                index, pts, duration, 2 * x, 2 * y, width + 1, height + 1, not flags & 2, bool(flags & 1), body[16:]
            )
            index, pts = index + 1, pts + duration


def _part(drawing: _Drawing) -> tuple[slice, slice]:
    """The part of the canvas that a frame covers."""
    return slice(drawing.y, drawing.y + drawing.height), slice(drawing.x, drawing.x + drawing.width)


def _decode(drawing: _Drawing) -> npt.NDArray[np.uint8] | None:
    """(H, W, 3) BGR or (H, W, 4) BGRA; None if the data is damaged."""
    data = drawing.data
    if data.startswith(b"ALPH"):
        flags = struct.pack("<I", _ALPHA_FLAG)
        size = (drawing.width - 1).to_bytes(3, "little") + (drawing.height - 1).to_bytes(3, "little")
        data = b"VP8X" + struct.pack("<I", 10) + flags + size + data
    file = b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WEBP" + data
    try:
        with decoding():
            image = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    return None if image is None or image.ndim != 3 else image.astype(np.uint8, copy=False)


def _blended(below: npt.NDArray[np.uint8], above: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """(H, W, 4) one image over the other, alpha not multiplied into the colours."""
    over, under = above[..., 3:] / 255.0, below[..., 3:] / 255.0 * (1 - above[..., 3:] / 255.0)
    alpha = over + under
    colours = (above[..., :3] * over + below[..., :3] * under) / np.maximum(alpha, 1e-6)
    return np.rint(np.concatenate([colours, 255 * alpha], -1)).astype(np.uint8)
