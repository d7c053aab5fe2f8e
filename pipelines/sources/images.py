"""Image sequences as a source: each file is one frame, in natural order."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.sources.base import Selection, Source, SourceInfo
from vtrack.types import Frame, ImageArray

log = logging.getLogger(__name__)


def read_image(path: Path) -> ImageArray | None:
    """Read an image file as (H, W, 3) RGB, upright by its EXIF orientation; None if it cannot be decoded."""
    try:
        data = np.fromfile(path, np.uint8)  # cv2.imread fails on non-ASCII names on Windows
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


class ImageSequence(Source):
    """A list of image files as a source.

    Frame i is file i, displayed at i / fps seconds. A file that cannot be decoded leaves a gap in the frame indices.
    All images are scaled to the size of the first.

    Args:
        path: Folder, pattern or file that the images belong to, for messages.
        files: The image files in order.
        selection: Which frames to read.
        fps: Frames per second.

    Raises:
        UsageError: `fps` is not above 0.
        SourceError: The selection holds no image, or none can be decoded.
    """

    def __init__(self, path: Path, files: Sequence[Path], selection: Selection, fps: float = 25) -> None:
        super().__init__(selection)
        if not fps > 0:
            raise UsageError(f"fps must be above 0, got {fps:g}")
        rate = Fraction(fps).limit_denominator(1001)
        self._time_base = 1 / rate
        seconds = float(self._time_base)
        self._files = [
            (i, file)
            for i, file in enumerate(files)
            if (selection.start is None or i * seconds >= selection.start)
            and (selection.stop is None or i * seconds < selection.stop)
        ][:: selection.every]
        if not self._files:
            raise SourceError(f"{path}: no image between start and stop; its {len(files)} images at {fps:g} fps end at "
                              f"{len(files) * seconds:g} s")  # fmt: skip
        self._damaged = 0
        self._remaining = iter(self._files)
        self._first = self._next()
        if self._first is None:
            raise SourceError(f"{path}: none of {len(self._files)} images could be read")
        self._warned = False
        self.info = SourceInfo(
            name=path.name or str(path),
            path=str(path),
            width=self._first.size[0],
            height=self._first.size[1],
            time_base=self._time_base,
            average_rate=rate,
            frames=len(files),
            start_time=0.0,
            duration=len(files) * seconds,
        )

    @property
    def expected(self) -> int:
        """Number of images that will be read."""
        return len(self._files)

    @property
    def damaged(self) -> int:
        """Number of images that could not be decoded so far."""
        return self._damaged

    def _next(self) -> Frame | None:
        """Return the next image that can be decoded."""
        for index, file in self._remaining:
            image = read_image(file)
            if image is not None:
                return Frame(image, index, index, self._time_base)
            self._damaged += 1
            log.debug("%s: cannot decode this image", file)
        return None

    def _frames(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        while frame is not None:
            yield self._scaled(frame)
            frame = self._next()

    def _scaled(self, frame: Frame) -> Frame:
        """Return the frame at the size of the first one."""
        if frame.size == self.info.size:
            return frame
        if not self._warned:
            self._warned = True
            log.warning(
                "%s: images differ in size; scaling all to the first image's %dx%d", self.info.name, *self.info.size
            )
        smaller = frame.size[0] > self.info.width
        image = cv2.resize(frame.image, self.info.size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        return Frame(image.astype(np.uint8, copy=False), frame.index, frame.pts, frame.time_base)

    def close(self) -> None:
        """Skip the remaining images; each file is open only while it is decoded."""
        self._remaining = iter(())
        self._first = None
