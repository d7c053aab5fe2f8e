"""The annotated video: every frame at its own time, with the source's sound and subtitles untouched.

Frames keep their timestamps and time base, so variable frame rates and late starts stay as they are and the sound stays
in step. Pixels become 4:2:0; an odd width or height grows by one pixel, a copy of the last column or row, so that
coordinates stay what they were. Colours are BT.709 from 720 lines on, BT.601 below, and the file says so.
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
from vtrack.pipelines.outputs.codecs import CODECS, CONTAINERS
from vtrack.pipelines.outputs.drawing.drawing import Drawing
from vtrack.pipelines.outputs.soundtrack import Soundtrack
from vtrack.pipelines.registry import PRESETS, WORST_CRF
from vtrack.pipelines.settings import OutputSettings
from vtrack.pipelines.sources.base import Source
from vtrack.runtime.cores import cores
from vtrack.runtime.threads import Behind
from vtrack.types import FrameResult, ImageArray, Query

log = logging.getLogger(__name__)

_DRAWN = 2
"""Pictures that wait for the encoder."""


class VideoSink(FileSink):
    """Fills one video file. The picture's size and clock are those of the first result; without one there is no file.

    `source` is what sound and subtitles are copied from (None: a silent film; right for cameras and live streams, which
    cannot be read twice). `start` and `stop`, on the source's clock, say what of it the results cover; the film's
    time 0 is then `start`.
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
        self._draw = draw
        self._output: Any = None
        self._encoding: Behind[tuple[Pixels, Fraction]] | None = None
        self._last_pts: int | None = None
        self._warned = False
        self._reformatter = VideoReformatter()

    def _write(self, result: FrameResult) -> None:
        pixels = result.frame.pixels if self._draw is None else self._draw(result)
        if self._encoding is None:
            self._encoding = self._begin(result, pixels)
        self._encoding.put((pixels, result.frame.pts * result.frame.time_base))

    def _encode(self, one: tuple[Pixels, Fraction]) -> None:
        """Add one picture, while the next is being drawn."""
        pixels, time = one
        self._copy_sound(time)
        self._output.mux(self._stream.encode(self._picture(pixels, time)))

    def _begin(self, result: FrameResult, pixels: Pixels) -> Behind[tuple[Pixels, Fraction]]:
        """Open the file for pictures of this size on this clock; what encodes them."""
        height, width = pixels.shape[:2]
        self._height, self._width = height + height % 2, width + width % 2
        self._time_base = result.frame.time_base
        # Edit lists count in ticks of the film, by default milliseconds: too coarse for a late start.
        options = {"movflags": "+faststart", "movie_timescale": str(max(self._time_base.denominator, 1000))}
        if self._container == "matroska":
            options = {}
        part = str(self.file.part.absolute())  # so that no name is taken for an address
        self._output = av.open(part, "w", format=self._container, container_options=options)
        stream = self._output.add_stream(self._codec.encoder, rate=self._rate or 30)
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._time_base
        stream.codec_context.thread_count = cores()
        stream.options = {"crf": str(self._crf), "preset": self._preset, **self._codec.options}
        if self._codec.tag and self._container != "matroska":
            stream.codec_context.codec_tag = self._codec.tag
        self._colorspace = Colorspace.ITU709 if self._height >= HD_HEIGHT else Colorspace.ITU601
        self._colours = film_colours(self._height)
        # The numbers of H.273, which all containers and players share: 1 BT.709, 6 BT.601.
        tags = 1 if self._colorspace == Colorspace.ITU709 else 6
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = tags
        context.color_range = ColorRange.MPEG
        self._stream = stream
        if self._sound is not None:
            self._sound.add_to(self._output)
        return Behind(self._encode, _DRAWN).start()

    def _picture(self, pixels: Pixels, time: Fraction) -> av.VideoFrame:
        """The picture as the encoder wants it, at its time."""
        picture = self._planar(pixels)
        pts = round((time - self._origin) / self._time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)  # containers allow no two pictures at once
            # Only the last picture's duration counts, and nobody knows it: as long as the one before.
            picture.duration = pts - self._last_pts
        picture.pts, picture.time_base = pts, self._time_base
        self._last_pts = pts
        return picture

    def _planar(self, pixels: Pixels) -> av.VideoFrame:
        """The picture in planes of the film's size and colours; what has them already is taken as it is."""
        if isinstance(pixels, Planes):
            if pixels.shape[:2] == (self._height, self._width) and pixels.colours == self._colours:
                picture = av.VideoFrame(self._width, self._height, "yuv420p")
                for place, (plane, *_) in zip(picture.planes, pixels.each, strict=True):
                    view(place)[:] = plane
                return picture
            pixels = pixels.whole()
        rgb = av.VideoFrame.from_numpy_buffer(self._fitted(pixels), "rgb24")
        return self._reformatter.reformat(
            rgb, format="yuv420p", dst_colorspace=self._colorspace, dst_color_range=ColorRange.MPEG
        )

    def _fitted(self, image: ImageArray) -> ImageArray:
        """The image at the size of the film; one of another size is scaled to fit, with black beside it."""
        height, width = image.shape[:2]
        right, below = self._width - width, self._height - height
        if (right, below) == (0, 0):
            return image if image.flags.c_contiguous else image.copy()
        if right in (0, 1) and below in (0, 1):
            return np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
        if not self._warned:
            self._warned = True
            log.warning("frame size changes to %dx%d; %s scales it to fit", width, height, self.file.path)
        scale = min(self._width / width, self._height / height)
        inner = (max(round(width * scale), 1), max(round(height * scale), 1))
        shrunk = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        left, top = (self._width - inner[0]) // 2, (self._height - inner[1]) // 2
        fitted = np.zeros((self._height, self._width, 3), np.uint8)
        fitted[top : top + inner[1], left : left + inner[0]] = shrunk
        return fitted

    def _copy_sound(self, time: Fraction | None) -> None:
        if self._sound is not None:
            for packet in self._sound.until(time):
                self._output.mux(packet)

    def _finish(self, interrupted: bool) -> None:
        if self._encoding is not None:
            self._encoding.finish()
        if self._output is not None:
            self._output.mux(self._stream.encode(None))
            if not interrupted:
                self._copy_sound(None)
            self._output.close()

    def _close(self) -> None:
        if self._encoding is not None:
            self._encoding.drop()
        if self._sound is not None:
            self._sound.close()
        if self._output is not None:
            self._output.close()


def annotated_video(
    path: str | Path, query: Query, *, source: Source, draw: Collection[str], codec: str, crf: int | None, preset: str
) -> VideoSink:
    """The film of a source with the faces drawn on it, and the source's sound where it can be read twice."""
    info = source.info
    return VideoSink(
        path,
        source=None if info.is_live else info.path,
        start=source.selection.start,
        stop=source.selection.stop,
        rate=info.average_rate,
        codec=codec,
        crf=crf,
        preset=preset,
        draw=Drawing(query, draw).pixels,
    )


def _choose(what: str, name: str, known: dict[str, Any]) -> Any:
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}; choose from {', '.join(known)}")
    return known[name]
