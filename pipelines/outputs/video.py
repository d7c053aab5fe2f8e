"""The annotated video: every frame at its own time, with copies of the source's audio and subtitles.

Frames keep their timestamps and time base, so variable frame rates and late starts are preserved and audio stays in sync.
Pixels are stored as 4:2:0; an odd width or height is extended by one pixel, a copy of the last column or row, so that
coordinates do not change. Colours are BT.709 from 720 lines on and BT.601 below, and are tagged so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from vtrack.errors import UsageError
from vtrack.imaging.planes import HD_HEIGHT, Pixels, Planes, film_colours, view
from vtrack.pipelines.outputs.base import FileSink
from vtrack.pipelines.outputs.codecs import CODECS, CONTAINERS, ENCODER_THREADS
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.drawing.palette import Color
from vtrack.pipelines.outputs.fragments import cut_fragments
from vtrack.pipelines.outputs.soundtrack import Soundtrack
from vtrack.pipelines.registry import PRESETS, WORST_CRF
from vtrack.pipelines.settings import OutputSettings
from vtrack.pipelines.sources.base import Source
from vtrack.runtime.threads import WriteBehind
from vtrack.types import FrameResult, ImageArray, Query

log = logging.getLogger(__name__)

_QUEUE_SIZE = 2
"""Largest number of frames that wait for the encoder."""
_FRAGMENT = 1_000_000
"""Microseconds of video in a fragment."""


class VideoSink(FileSink):
    """Writes a video file. The first result sets the frame size and clock; without any result there is no file.

    Args:
        path: File to write; its ending selects the container format.
        source: Path or address to copy audio and subtitles from; None for none, as for cameras and live streams.
        start: Start of the results in seconds on the source's clock; becomes time 0 of the video.
        stop: End of the results in seconds on the source's clock.
        rate: Average frames per second, as information for the container.
        codec: Name of the codec, see `CODECS`.
        crf: Quality, 0 (best) to 51 (smallest file); None for the codec's default.
        preset: Effort of the encoder, see `PRESETS`.
        draw: Returns the pixels to store for a result; None stores the frames as they are.
        fragmented: Whether MP4 and MOV are written in fragments of a second that are joined at the end, so that what
            a failed write leaves can be rescued. Their index is then behind the frames.

    Raises:
        UsageError: The ending, codec, quality or preset is invalid.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        source: str | Path | None = None,
        start: float | None = None,
        stop: float | None = None,
        rate: Fraction | None = None,
        codec: str = OutputSettings.codec,
        crf: int | None = None,
        preset: str = OutputSettings.preset,
        draw: Callable[[FrameResult], Pixels] | None = None,
        fragmented: bool = False,
    ) -> None:
        super().__init__(path)
        self.file.failures = (OSError, av.FFmpegError)
        self._container = _choose("video file ending", Path(path).suffix.lower(), CONTAINERS)
        self._codec = _choose("codec", codec, CODECS)
        self._crf = self._codec.crf if crf is None else crf
        if not 0 <= self._crf <= WORST_CRF:
            raise UsageError(f"crf must be 0 (best) to {WORST_CRF} (smallest), got {crf}")
        self._preset = _choose("preset", preset, dict(zip(PRESETS, PRESETS, strict=True)))
        self._origin = Fraction(start or 0).limit_denominator(1_000_000)
        self._sound = None if source is None else Soundtrack(source, start=start, stop=stop, origin=self._origin)
        self._rate = rate
        self._draw, self._fragmented = draw, fragmented
        self._output: Any = None
        self._encoder: WriteBehind[tuple[Pixels, Fraction]] | None = None
        self._last_pts: int | None = None
        self._warned = False
        self._reformatter = VideoReformatter()

    def _write(self, result: FrameResult) -> None:
        pixels = result.frame.pixels if self._draw is None else self._draw(result)
        if self._encoder is None:
            self._encoder = self._start(result, pixels)
        self._encoder.put((pixels, result.frame.pts * result.frame.time_base))

    def _encode(self, frame: tuple[Pixels, Fraction]) -> None:
        """Encode one frame, in a thread, while the next is drawn."""
        pixels, time = frame
        self._copy_sound(time)
        self._output.mux(self._stream.encode(self._timed_frame(pixels, time)))

    def _start(self, result: FrameResult, pixels: Pixels) -> WriteBehind[tuple[Pixels, Fraction]]:
        """Open the file for frames of this size and clock; return the thread that encodes them."""
        height, width = pixels.shape[:2]
        self._height, self._width = height + height % 2, width + width % 2
        self._time_base = result.frame.time_base
        # Edit lists count in ticks of the movie, by default milliseconds: too coarse for a late start.
        options = {"movflags": "+faststart", "movie_timescale": str(max(self._time_base.denominator, 1000))}
        if self._container == "matroska":
            options = {}
        elif self._fragmented:
            options |= {"movflags": "+hybrid_fragmented+delay_moov", "frag_duration": str(_FRAGMENT)}
        part = str(self.file.create().absolute())  # absolute, so that FFmpeg reads no name as an address
        self._output = av.open(part, "w", format=self._container, container_options=options)
        stream = self._output.add_stream(self._codec.encoder, rate=self._rate or 30)
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._time_base
        stream.codec_context.thread_count = ENCODER_THREADS
        stream.options = {"crf": str(self._crf), "preset": self._preset, **self._codec.options}
        if self._codec.tag and self._container != "matroska":
            stream.codec_context.codec_tag = self._codec.tag
        self._colorspace = Colorspace.ITU709 if self._height >= HD_HEIGHT else Colorspace.ITU601
        self._colours = film_colours(self._height)
        # Code points of ITU-T H.273: 1 BT.709, 6 BT.601.
        tags = 1 if self._colorspace == Colorspace.ITU709 else 6
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = tags
        context.color_range = ColorRange.MPEG
        self._stream = stream
        if self._sound is not None:
            self._sound.add_to(self._output)
        return WriteBehind(self._encode, _QUEUE_SIZE).start()

    def _timed_frame(self, pixels: Pixels, time: Fraction) -> av.VideoFrame:
        """Return the frame for the encoder, with its timestamp."""
        frame = self._to_yuv420p(pixels)
        pts = round((time - self._origin) / self._time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)  # containers allow no two frames at one time
            # Only the duration of the last frame matters. It is unknown, so it is that of the frame before.
            frame.duration = pts - self._last_pts
        frame.pts, frame.time_base = pts, self._time_base
        self._last_pts = pts
        return frame

    def _to_yuv420p(self, pixels: Pixels) -> av.VideoFrame:
        """Convert pixels to planes of the video's size and colours; planes that match already are copied."""
        if isinstance(pixels, Planes):
            if pixels.shape[:2] == (self._height, self._width) and pixels.colours == self._colours:
                frame = av.VideoFrame(self._width, self._height, "yuv420p")
                for target, (plane, *_) in zip(frame.planes, pixels.each, strict=True):
                    view(target)[:] = plane
                return frame
            pixels = pixels.whole()
        rgb = av.VideoFrame.from_numpy_buffer(self._resized(pixels), "rgb24")
        return self._reformatter.reformat(
            rgb, format="yuv420p", dst_colorspace=self._colorspace, dst_color_range=ColorRange.MPEG
        )

    def _resized(self, image: ImageArray) -> ImageArray:
        """Return the image at the size of the video; one of another size is scaled to fit, with black borders."""
        height, width = image.shape[:2]
        right, below = self._width - width, self._height - height
        if (right, below) == (0, 0):
            return image if image.flags.c_contiguous else image.copy()
        if right in (0, 1) and below in (0, 1):
            return np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
        if not self._warned:
            self._warned = True
            log.warning("frame size changes to %dx%d; scaling to fit into %s", width, height, self.file.path)
        scale = min(self._width / width, self._height / height)
        inner = (max(round(width * scale), 1), max(round(height * scale), 1))
        scaled = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        left, top = (self._width - inner[0]) // 2, (self._height - inner[1]) // 2
        padded = np.zeros((self._height, self._width, 3), np.uint8)
        padded[top : top + inner[1], left : left + inner[0]] = scaled
        return padded

    def _copy_sound(self, time: Fraction | None) -> None:
        if self._sound is None:
            return
        try:
            for packet in self._sound.until(time):
                self._output.mux(packet)
        except av.FFmpegError as error:
            log.warning("%s: no sound from here on: %s", self.file.path, error.strerror)
            self._sound.close()
            self._sound = None

    def _finish(self, interrupted: bool) -> None:
        if self._encoder is not None:
            self._encoder.finish()
        if self._output is not None:
            self._output.mux(self._stream.encode(None))
            if not interrupted:
                self._copy_sound(None)
            self._output.close()

    def _close(self) -> None:
        if self._encoder is not None:
            self._encoder.drop()
        if self._sound is not None:
            self._sound.close()
        if self._output is not None:
            self._output.close()

    def _repair(self) -> bool:
        if self._container != "matroska":
            cut_fragments(self.file.part)
        with av.open(str(self.file.part.absolute()), format=self._container) as video:
            return any(True for _ in video.decode(video=0))


def annotated_video(
    path: str | Path,
    query: Query,
    *,
    source: Source,
    draw: Collection[str],
    codec: str,
    crf: int | None,
    preset: str,
    color: Color | None = None,
) -> VideoSink:
    """Make the sink of an annotated video, with the audio of the source unless it is live.

    Args:
        path: File to write.
        query: The points of the faces.
        source: The opened source.
        draw: What to draw, see `DRAWINGS`.
        codec: Name of the codec.
        crf: Quality, 0 (best) to 51 (smallest file); None for the codec's default.
        preset: Effort of the encoder.
        color: Colour of what is drawn; None for those of parts and tracks.
    """
    info = source.info
    if info.is_live and info.has_audio:
        log.warning("no audio copied: %s can be read only once", info.name)
    return VideoSink(
        path,
        source=None if info.is_live else info.path,
        start=source.selection.start,
        stop=source.selection.stop,
        rate=info.average_rate,
        codec=codec,
        crf=crf,
        preset=preset,
        draw=Drawing(query, draw, color=color).pixels,
    )


def _choose(what: str, name: str, choices: dict[str, Any]) -> Any:
    """Return the choice of this name; raise `UsageError` for an unknown name."""
    if name not in choices:
        raise UsageError(f"unknown {what} {name!r}; choose from {', '.join(choices)}")
    return choices[name]
