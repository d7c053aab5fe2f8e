"""Images as a source: each file one frame, in natural order."""

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

logger = logging.getLogger(__name__)


def read_image(path: Path) -> ImageArray | None:
    """(H, W, 3) RGB, upright by its EXIF orientation; None where the file holds no readable picture."""
    try:
        data = np.fromfile(path, np.uint8)  # OpenCV's own reading fails on names that are not plain ASCII on Windows
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    except (OSError, cv2.error):
        return None
    return None if image is None else image.astype(np.uint8, copy=False)


class ImageFolder(Source):
    """Frame i is file i, at i / fps seconds; a file that cannot be read leaves a gap. All get the first one's size."""

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
            raise SourceError(f"{path}: no image from start to stop; {len(files)} at {fps:g} per second end at "
                              f"{len(files) * seconds:g} s")  # fmt: skip
        self._damaged = 0
        self._rest = iter(self._files)
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
        """How many images will be read."""
        return len(self._files)

    @property
    def damaged(self) -> int:
        """Images that could not be read so far."""
        return self._damaged

    def _next(self) -> Frame | None:
        """The next image that can be read."""
        for index, file in self._rest:
            image = read_image(file)
            if image is not None:
                return Frame(image, index, index, self._time_base)
            self._damaged += 1
            logger.debug("%s: cannot be read as an image", file)
        return None

    def _frames(self) -> Iterator[Frame]:
        frame, self._first = self._first, None
        while frame is not None:
            yield self._fitted(frame)
            frame = self._next()

    def _fitted(self, frame: Frame) -> Frame:
        if frame.size == self.info.size:
            return frame
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s: images differ in size; all are scaled to the first one's %dx%d", self.info.name, *self.info.size
            )
        smaller = frame.size[0] > self.info.width
        image = cv2.resize(frame.image, self.info.size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
        return Frame(image.astype(np.uint8, copy=False), frame.index, frame.pts, frame.time_base)

    def close(self) -> None:
        """Files are open only while they are read."""
        self._rest = iter(())
        self._first = None
