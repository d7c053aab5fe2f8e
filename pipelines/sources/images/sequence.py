"""Images as a source: files, arrays in memory, or whatever yields them, in the order given."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.settings import InputSettings, Selection
from vtrack.pipelines.sources.base import SourceInfo
from vtrack.pipelines.sources.images.base import ImageFileSource
from vtrack.pipelines.sources.images.files import read_picture
from vtrack.types import Frame, ImageArray, in_seconds

log = logging.getLogger(__name__)

_MICROSECONDS = Fraction(1, 1_000_000)
"""Time base of images whose times are given."""


class ImageSequence(ImageFileSource):
    """Images as a source, each of them one frame.

    Frame i is displayed at i / fps seconds, or at the i-th of `times`. A file that cannot be decoded leaves a gap in the
    frame indices. All images are scaled to the size of the first.

    Args:
        name: Folder, pattern or file that the images belong to, or what else to call them in messages.
        images: Image files, (H, W, 3) `uint8` RGB arrays, or both, in order; a generator is read as frames are wanted.
            An array must not change after it was given.
        selection: Which frames to read.
        fps: Frames per second, where there are no `times`.
        times: Seconds at which the images are displayed: finite, each at least a microsecond after the one before.
        max_pixels: Largest number of pixels of a file that is decoded; a larger one counts as damaged.

    Raises:
        UsageError: `fps` is not above 0, the times do not grow or do not match the images, or an image is not RGB.
        SourceError: The selection holds no image, or none can be decoded.
    """

    def __init__(
        self,
        name: str | Path,
        images: Iterable[str | Path | ImageArray],
        selection: Selection,
        fps: float = InputSettings.fps,
        times: Iterable[float] | None = None,
        max_pixels: int = InputSettings.max_pixels,
    ) -> None:
        is_known = isinstance(images, Sequence)  # a generator is not read ahead
        paths = [Path(image) for image in images if isinstance(image, str | Path)] if is_known else []
        super().__init__(selection, paths, max_pixels)
        if not (fps > 0 and math.isfinite(fps)):
            raise UsageError(f"fps must be above 0, got {fps:g}")
        rate = Fraction(fps).limit_denominator(1001) if times is None else None
        self._time_base = 1 / rate if rate else _MICROSECONDS
        self._warned = False
        count = len(images) if isinstance(images, Sequence | np.ndarray) else None
        if times is not None and count is not None:
            times = list(times)
            if len(times) != count:
                raise UsageError(f"{len(times)} times do not match {count} images; give one time for each image")
        self._expected = None
        if count == 0:
            raise SourceError(f"{name}: there are no images")
        if count is not None:
            self._expected = sum(1 for _ in self._selected(range(count), times))
            if not self._expected:
                end = f" at {fps:g} fps end at {in_seconds(count, self._time_base):g} s" if rate else ""
                raise SourceError(f"{name}: no image between start and stop; its {count} images{end}")
        self._images = iter(images)
        self._remaining = self._selected(self._images, times)
        self._first = self._next()
        if self._first is None:
            if self.failure is not None and self._damaged == 1:
                raise self.failure
            last = f"; the last: {self.failure}" if self.failure else ""
            what = f"none of {self._expected} images can be read" if self._expected else "no image to read"
            raise SourceError(f"{name}: {what}{last}")
        self.info = SourceInfo(
            name=Path(name).name or str(name),
            path=str(name) if isinstance(name, Path) else "",
            width=self._first.size[0],
            height=self._first.size[1],
            time_base=self._time_base,
            average_rate=rate,
            frames=count,
            duration=None if rate is None or count is None else in_seconds(count, self._time_base),
        )

    @property
    def expected(self) -> int | None:
        """Number of images that will be read; None where it is unknown."""
        return self._expected

    def _selected(
        self, images: Iterable[Any], times: Iterable[float] | None
    ) -> Iterator[tuple[int, int, str | Path | ImageArray]]:
        """Yield index, timestamp and image of those of the selection."""
        start, stop, every = self.selection.start, self.selection.stop, self.selection.every
        moments = None if times is None else _timestamps(times)
        count = 0
        for index, image in enumerate(images):
            pts = index if moments is None else next(moments, None)
            if pts is None:
                raise UsageError(f"there are {index} times but more images; give one time for each image")
            time = in_seconds(pts, self._time_base)
            if stop is not None and time >= stop:
                return
            if start is None or time >= start:
                if count % every == 0:
                    yield index, pts, image
                count += 1

    def _next(self) -> Frame | None:
        """Return the next image that can be decoded."""
        for index, pts, image in self._remaining:
            if not isinstance(image, str | Path):
                return Frame(check_image(image, index), index, pts, self._time_base)
            path = Path(image)
            try:
                pixels = read_picture(path, self._max_pixels)
                return Frame(pixels, index, pts, self._time_base, file=self._names.get(path, ""))
            except SourceError as error:
                self._damaged += 1
                self.failure = error
                log.debug("%s; skipped", error)
        return None

    def frames(self) -> Iterator[Frame]:
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
        return replace(frame, pixels=image.astype(np.uint8, copy=False))

    def close(self) -> None:
        """Skip the remaining images, and close a generator of them; each file is open only while it is decoded."""
        self._remaining = iter(())
        self._first = None
        if close := getattr(self._images, "close", None):
            close()


def _timestamps(times: Iterable[float]) -> Iterator[int]:
    """Yield times in microseconds, once each is known to come after the one before."""
    last: float | None = None
    for i, time in enumerate(times):
        try:
            pts = round(float(time) / _MICROSECONDS)
        except (TypeError, ValueError, OverflowError):
            raise UsageError(f"times are seconds, finite numbers; time {i} is {time!r}") from None
        if last is not None and pts <= last:
            raise UsageError(f"times must grow, by a microsecond at least; time {i} is {time:g} s")
        last = pts
        yield pts


def check_image(image: Any, index: int) -> ImageArray:
    """Return an image given as an array, as the pipeline reads it; raises `UsageError` for what is no RGB image."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise UsageError(f"images are uint8 RGB arrays of shape (height, width, 3); image {index} is {kind}")
    if not image.size:
        raise UsageError(f"images need a height and a width; image {index} is {image.shape}")
    return np.ascontiguousarray(image)
