"""Video files and network streams as a source."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vtrack.errors import SourceError
from vtrack.imaging.planes import BT601, BT709, HD_HEIGHT, Colours, Planes, view
from vtrack.pipelines.sources.base import Selection, Source, SourceInfo
from vtrack.pipelines.sources.decoder import Decoder, Picture
from vtrack.pipelines.sources.orientation import Orientation
from vtrack.pipelines.sources.timestamps import USUAL_RATE
from vtrack.types import Frame, ImageArray, in_seconds

logger = logging.getLogger(__name__)

# Colour spaces (AVColorSpace) that the converter reads as marked; the rest as players do: HD as BT.709.
MARKED_COLORSPACES = frozenset({0, 1, 4, 5, 6, 7, 9})
# Formats and colour spaces whose planes are cut into crops without converting the whole picture.
PLANAR_FORMATS = frozenset({"yuv420p", "yuvj420p", "nv12"})
PLANAR_COLORSPACES = {1: BT709, 5: BT601, 6: BT601}
# A pixel aspect nearer to 1 than this is the rounding of somebody's 853 x 480, not a squeezed picture.
ASPECT_TOLERANCE = 0.01
# A stream that ends so many seconds before its header says was cut off.
CUT_OFF_GAP = 1.0


class VideoFile(Source):
    """A video. `Frame.index` counts from the start of the file, also with `start`; what cannot be decoded has none.

    Pixels are made square: a picture with another pixel aspect is stretched in width, as players show it. Interlaced
    video stays as it is, and HDR is converted to RGB without tone mapping. The first frame is decoded when the source
    is opened, so that what cannot be decoded fails there.
    """

    def __init__(self, source: str | Path, selection: Selection, timeout: float = 15, hwaccel: str = "none") -> None:
        super().__init__(selection)
        self._decoder = Decoder(source, timeout, hwaccel)
        self._reformatter = VideoReformatter()
        self._converting = threading.Lock()
        self._warned = False
        self._turn: tuple[float, Orientation] | None = None
        self._span: tuple[float, float] | None = None
        self._pictures = self._select()
        try:
            first = next(self._pictures, None)
            if first is None:
                raise SourceError(f"{self._decoder.label}: {self._why_nothing()}")
            # Kept, for pictures are converted when the file may be closed already.
            aspect = self._decoder.stream.sample_aspect_ratio or Fraction(1)
            self._aspect = Fraction(1) if abs(aspect - 1) < ASPECT_TOLERANCE else aspect
            self.info = self._describe(first)
            self._first: Frame | None = self._frame(first)
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded so far."""
        return self._decoder.damaged

    def close(self) -> None:
        """Close the file or connection."""
        self._decoder.close()

    def _frames(self) -> Iterator[Frame]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        for picture in self._pictures:
            yield self._frame(picture)

    def _select(self) -> Iterator[Picture]:
        """The wanted pictures; others cost no conversion."""
        start, stop, every = self.selection.start, self.selection.stop, self.selection.every
        first = None
        for picture in self._decoder.pictures(start):
            time = in_seconds(picture.pts, self._decoder.time_base)
            self._span = (self._span[0] if self._span else time, time)
            if stop is not None and time >= stop:
                return
            if start is None or time >= start:
                first = picture.index if first is None else first
                if (picture.index - first) % every == 0:
                    yield picture
        self._check_end()

    def _check_end(self) -> None:
        """Count a video that ended long before its header says as damaged."""
        decoder = self._decoder
        sound_may_be_longer = not decoder.stream.duration and decoder.container.streams.audio
        if self._span is None or decoder.duration is None or sound_may_be_longer:
            return
        missing = decoder.start_time + decoder.duration - self._span[1]
        if missing > CUT_OFF_GAP + 1 / (decoder.stream.average_rate or USUAL_RATE):
            decoder.damaged += 1
            logger.warning("%s: ends at %.3f s, %.3f s before its header says", decoder.label, self._span[1], missing)

    def _why_nothing(self) -> str:
        start, stop = self.selection.start, self.selection.stop
        if self._span is None:
            damaged = f" ({self.damaged} damaged parts)" if self.damaged else ""
            return f"no frame could be decoded{damaged}"
        if start is not None and self._span[1] < start:
            return f"no frame at or after {start:g} s; its last one is at {self._span[1]:g} s"
        if stop is not None and self._span[0] >= stop:
            return f"no frame before {stop:g} s; its first one is at {self._span[0]:g} s"
        return f"no frame from {start:g} s to {stop:g} s"

    def _describe(self, first: Picture) -> SourceInfo:
        container, stream = self._decoder.container, self._decoder.stream
        width, height = self._orientation(first.frame).size(*self._square_size(first.frame))
        rate = stream.average_rate or stream.guessed_rate or None
        duration = self._decoder.duration
        label = self._decoder.label
        return SourceInfo(
            name=label if self._decoder.is_network else Path(label).name,
            path=self._decoder.path,
            width=width,
            height=height,
            time_base=self._decoder.time_base,
            average_rate=rate,
            frames=stream.frames or (round(duration * rate) if duration and rate else None),
            start_time=self._decoder.start_time,
            duration=duration,
            has_audio=bool(container.streams.audio),
            has_subtitles=bool(container.streams.subtitles),
            is_live=self._decoder.is_network and container.duration is None,
        )

    def _frame(self, picture: Picture) -> Frame:
        frame, orientation = picture.frame, self._orientation(picture.frame)
        pixels = self._planes(frame, orientation) or self._convert(frame, orientation)
        return Frame(pixels, picture.index, picture.pts, self._decoder.time_base)

    def _orientation(self, frame: av.VideoFrame) -> Orientation:
        """How the picture is turned: read anew only when its angle changes."""
        if self._turn is None or self._turn[0] != frame.rotation:
            self._turn = frame.rotation, Orientation.of(frame)
        return self._turn[1]

    def _planes(self, frame: av.VideoFrame, orientation: Orientation) -> Planes | None:
        """The picture as it was decoded, if that is how it is shown and its format is the usual one."""
        usual = BT709 if frame.height >= HD_HEIGHT else BT601
        shares = usual if frame.colorspace not in MARKED_COLORSPACES else PLANAR_COLORSPACES.get(frame.colorspace)
        if (
            shares is None
            or frame.format.name not in PLANAR_FORMATS
            or orientation != Orientation()
            or (frame.width, frame.height) != self.info.size
            or self._square_size(frame) != self.info.size
        ):
            return None
        full = frame.format.name == "yuvj420p" or frame.color_range == ColorRange.JPEG
        luma, blue, red = _planes_of(frame)
        return Planes(luma, blue, red, Colours(*shares, full), lambda: self._convert(frame, orientation))

    def _square_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Stored width and height, the width such that pixels are square."""
        return max(1, round(frame.width * self._aspect)), frame.height

    def _convert(self, frame: av.VideoFrame, orientation: Orientation) -> ImageArray:
        """(height, width, 3) RGB as displayed, at the first frame's size."""
        if not self._warned and orientation.size(*self._square_size(frame)) != self.info.size:
            self._warned = True
            logger.warning("%s: the picture changes its size; all frames are scaled to the first one's %dx%d",
                           self._decoder.label, *self.info.size)  # fmt: skip
        width, height = orientation.size(*self.info.size)
        colorspace = None
        if frame.colorspace not in MARKED_COLORSPACES:
            colorspace = Colorspace.ITU709 if frame.height >= HD_HEIGHT else Colorspace.ITU601
        try:
            # Whoever wants to see a picture that was kept in planes converts it in their own thread.
            with self._converting:
                rgb = self._reformatter.reformat(frame, width, height, "rgb24", src_colorspace=colorspace, threads=1)
        except av.FFmpegError as error:
            raise SourceError(f"{self._decoder.label}: cannot convert {frame.format.name} pictures to RGB") from error
        return orientation.apply(np.ascontiguousarray(rgb.to_ndarray()))


def _planes_of(frame: av.VideoFrame) -> tuple[ImageArray, ImageArray, ImageArray]:
    """Brightness and the two colour differences. In NV12, which chips decode to, the latter take turns in one plane."""
    if frame.format.name != "nv12":
        luma, blue, red = (view(plane) for plane in frame.planes)
        return luma, blue, red
    bright, both = frame.planes
    blue, red = cv2.split(view(both, 2).reshape(both.height, both.width, 2))
    return view(bright), np.asarray(blue, np.uint8), np.asarray(red, np.uint8)
