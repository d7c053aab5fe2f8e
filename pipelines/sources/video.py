"""Video files, network streams and pipes as a source."""

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

from vtrack.errors import SourceError, spelled
from vtrack.imaging.planes import BT601, BT709, HD_HEIGHT, Colours, Planes, view
from vtrack.pipelines.settings import InputSettings, Selection
from vtrack.pipelines.sources.base import Source, SourceInfo
from vtrack.pipelines.sources.decoder import DecodedFrame, Decoder
from vtrack.pipelines.sources.orientation import Orientation
from vtrack.pipelines.sources.pipe import Pipe
from vtrack.pipelines.sources.timestamps import DEFAULT_RATE
from vtrack.types import Frame, ImageArray, in_seconds

log = logging.getLogger(__name__)

# Colour spaces (AVColorSpace) that the converter reads from the frame; others are chosen as players do: BT.709 for HD.
KNOWN_COLORSPACES = frozenset({0, 1, 4, 5, 6, 7, 9})
# Formats and colour spaces whose planes are cropped without converting the whole frame.
PLANAR_FORMATS = frozenset({"yuv420p", "yuvj420p", "nv12"})
PLANAR_COLORSPACES = {1: BT709, 5: BT601, 6: BT601}
# A pixel aspect ratio nearer to 1 than this comes from a rounded width such as 853 x 480, not from anamorphic video.
ASPECT_TOLERANCE = 0.01
# A stream that ends this many seconds earlier than its header says was cut off.
CUT_OFF_GAP = 1.0


class VideoFile(Source):
    """A video file, network stream or pipe as a source.

    `Frame.index` counts decoded frames from the start of the file, also with `start`. Frames with non-square pixels are
    stretched in width, as players display them. Interlaced video is not deinterlaced, and HDR is converted to RGB without
    tone mapping. Opening decodes the first frame, so a source that cannot be decoded fails there.

    Args:
        source: Path of a file, a network address as a string, or a pipe.
        selection: Which frames to read.
        timeout: Seconds that a network source may stay silent.
        hwaccel: Name of a hardware decoder, or "none" for the CPU.
        max_pixels: Largest number of pixels of a frame.

    Raises:
        UsageError: PyAV has no such hardware decoder.
        SourceError: The source cannot be opened, its frames are larger, or the selection holds no frame.
    """

    def __init__(
        self,
        source: str | Path | Pipe,
        selection: Selection,
        timeout: float = 15,
        hwaccel: str = InputSettings.hwaccel,
        max_pixels: int = InputSettings.max_pixels,
    ) -> None:
        super().__init__(selection)
        self._decoder = Decoder(source, timeout, hwaccel, max_pixels)
        self._reformatter = VideoReformatter()
        self._reformat_lock = threading.Lock()
        self._warned = False
        self._rotation: tuple[float, Orientation] | None = None
        self._span: tuple[float, float] | None = None
        self._selected = self._select()
        try:
            first = next(self._selected, None)
            if first is None:
                raise SourceError(f"{self._decoder.label}: {self._no_frame_reason()}")
            # Read now: frames may be converted after the file is closed.
            aspect = self._decoder.stream.sample_aspect_ratio or Fraction(1)
            self._aspect = Fraction(1) if abs(aspect - 1) < ASPECT_TOLERANCE else aspect
            self.info = self._describe(first)
            self._first: Frame | None = self._frame(first)
        except BaseException:
            self.close()
            raise

    @property
    def damaged(self) -> int:
        """Number of packets that could not be decoded so far."""
        return self._decoder.damaged

    def close(self) -> None:
        """Close the file or connection."""
        self._decoder.close()

    def abandon(self) -> None:
        """End a wait for data of a pipe."""
        self._decoder.abandon()

    def frames(self) -> Iterator[Frame]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
        for decoded in self._selected:
            yield self._frame(decoded)

    def _select(self) -> Iterator[DecodedFrame]:
        """Yield the decoded frames of the selection; the others are not converted."""
        start, stop, every = self.selection.start, self.selection.stop, self.selection.every
        first = None
        for decoded in self._decoder.frames(start):
            time = in_seconds(decoded.pts, self._decoder.time_base)
            self._span = (self._span[0] if self._span else time, time)
            if stop is not None and time >= stop:
                return
            if start is None or time >= start:
                first = decoded.index if first is None else first
                if (decoded.index - first) % every == 0:
                    yield decoded
        self._check_end()

    def _check_end(self) -> None:
        """Count a video that ended long before the end in its header as damaged."""
        decoder = self._decoder
        if decoder.pipe is not None and decoder.pipe.abandoned:
            return
        sound_may_be_longer = not decoder.stream.duration and decoder.container.streams.audio
        if self._span is None or decoder.duration is None or sound_may_be_longer:
            return
        missing = decoder.start_time + decoder.duration - self._span[1]
        if missing > CUT_OFF_GAP + 1 / (decoder.stream.average_rate or DEFAULT_RATE):
            decoder.damaged += 1
            log.warning(
                "%s: ends at %.3f s, %.3f s earlier than its header says", decoder.label, self._span[1], missing
            )

    def _no_frame_reason(self) -> str:
        """Say why the selection holds no frame."""
        start, stop = self.selection.start, self.selection.stop
        if self._span is None:
            if self._decoder.refused:
                limit = spelled("max_pixels", self._decoder.max_pixels)
                return f"its frames are damaged, or have more pixels than {limit} allows"
            damaged = f" ({self.damaged} damaged packets)" if self.damaged else ""
            return f"no frame could be decoded{damaged}"
        if start is not None and self._span[1] < start:
            return f"no frame at or after {start:g} s; its last frame is at {self._span[1]:g} s"
        if stop is not None and self._span[0] >= stop:
            return f"no frame before {stop:g} s; its first frame is at {self._span[0]:g} s"
        return f"no frame from {start:g} s to {stop:g} s"

    def _describe(self, first: DecodedFrame) -> SourceInfo:
        container, stream = self._decoder.container, self._decoder.stream
        width, height = self._orientation(first.frame).size(*self._square_size(first.frame))
        rate = stream.average_rate or stream.guessed_rate or None
        duration = self._decoder.duration
        label = self._decoder.label
        return SourceInfo(
            name=Path(label).name if self._decoder.is_file else label,
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
            is_live=self._decoder.pipe is not None or (self._decoder.is_network and container.duration is None),
        )

    def _frame(self, decoded: DecodedFrame) -> Frame:
        frame, orientation = decoded.frame, self._orientation(decoded.frame)
        pixels = self._planes(frame, orientation) or self._convert(frame, orientation)
        return Frame(pixels, decoded.index, decoded.pts, self._decoder.time_base)

    def _orientation(self, frame: av.VideoFrame) -> Orientation:
        """Return the orientation of a frame; the display matrix is read again only when the angle changes."""
        if self._rotation is None or self._rotation[0] != frame.rotation:
            self._rotation = frame.rotation, Orientation.of(frame)
        return self._rotation[1]

    def _planes(self, frame: av.VideoFrame, orientation: Orientation) -> Planes | None:
        """Return the decoded planes if they need no rotation or scaling and their format is common; else None."""
        default = BT709 if frame.height >= HD_HEIGHT else BT601
        weights = default if frame.colorspace not in KNOWN_COLORSPACES else PLANAR_COLORSPACES.get(frame.colorspace)
        if (
            weights is None
            or frame.format.name not in PLANAR_FORMATS
            or orientation != Orientation()
            or (frame.width, frame.height) != self.info.size
            or self._square_size(frame) != self.info.size
        ):
            return None
        full = frame.format.name == "yuvj420p" or frame.color_range == ColorRange.JPEG
        luma, blue, red = _split_planes(frame)
        return Planes(luma, blue, red, Colours(*weights, full), lambda: self._convert(frame, orientation))

    def _square_size(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Return width and height before rotation, the width scaled so that pixels are square."""
        return max(1, round(frame.width * self._aspect)), frame.height

    def _convert(self, frame: av.VideoFrame, orientation: Orientation) -> ImageArray:
        """Convert to (height, width, 3) RGB as displayed, at the first frame's size."""
        if not self._warned and orientation.size(*self._square_size(frame)) != self.info.size:
            self._warned = True
            log.warning("%s: the frame size changes; scaling all frames to the first one's %dx%d",
                           self._decoder.label, *self.info.size)  # fmt: skip
        width, height = orientation.size(*self.info.size)
        colorspace = None
        if frame.colorspace not in KNOWN_COLORSPACES:
            colorspace = Colorspace.ITU709 if frame.height >= HD_HEIGHT else Colorspace.ITU601
        try:
            # Readers convert frames that were kept as planes in their own threads; the reformatter serves one at a time.
            with self._reformat_lock:
                rgb = self._reformatter.reformat(frame, width, height, "rgb24", src_colorspace=colorspace, threads=1)
        except av.FFmpegError as error:
            raise SourceError(f"{self._decoder.label}: cannot convert {frame.format.name} frames to RGB") from error
        return orientation.apply(np.ascontiguousarray(rgb.to_ndarray()))


def _split_planes(frame: av.VideoFrame) -> tuple[ImageArray, ImageArray, ImageArray]:
    """Return luma and the two chroma planes. NV12, the output of hardware decoders, interleaves the latter in one plane."""
    if frame.format.name != "nv12":
        luma, blue, red = (view(plane) for plane in frame.planes)
        return luma, blue, red
    luma_plane, chroma = frame.planes
    blue, red = cv2.split(view(chroma, 2).reshape(chroma.height, chroma.width, 2))
    return view(luma_plane), np.asarray(blue, np.uint8), np.asarray(red, np.uint8)
