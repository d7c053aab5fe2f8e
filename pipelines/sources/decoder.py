"""Decoding a video file or stream with PyAV, damaged or not."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.stream import Disposition

from vtrack.errors import SourceError, UsageError
from vtrack.pipelines.settings import InputSettings
from vtrack.pipelines.sources.container import open_container
from vtrack.pipelines.sources.images.files import check_size
from vtrack.pipelines.sources.pipe import Pipe
from vtrack.pipelines.sources.timestamps import TimestampRepair
from vtrack.runtime.cores import cores

log = logging.getLogger(__name__)

# A damaged container may report errors without end; reading stops after this many in a row.
MAX_ERRORS_IN_A_ROW = 100
# Seconds to seek before the wanted time: seeking uses decoding times, which differ from display times by a few frames.
SEEK_LEAD = 1.0
# Codecs in which some packets hold no frame for display, so that frames cannot be counted by their packets.
UNCOUNTABLE_CODECS = frozenset({"vp8"})
# Pixels by which the buffer of a frame may be larger: its lines are up to 64 pixels longer.
_ALIGNMENT = 64 * 2**16
# Types of the boxes that an MP4 or MOV file may begin with.
MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})
# What files begin with that name other files.
PLAYLISTS = (b"ffconcat", b"#EXTM3U", b"v=0")


@dataclass(frozen=True, eq=False, slots=True)
class DecodedFrame:
    """A decoded frame, not converted to RGB yet."""

    index: int
    """Number of frames of the stream that are displayed before it."""
    pts: int
    frame: av.VideoFrame


class Decoder:
    """Decodes the video stream of a file or address, in display order. Damaged packets are skipped and counted.

    Args:
        source: Path of a file, a network address as a string, or a pipe.
        timeout: Seconds that a network source may stay silent.
        hwaccel: Name of a hardware decoder, or "none" for the CPU.
        max_pixels: Largest number of pixels of a frame that is decoded.

    Raises:
        UsageError: PyAV has no such hardware decoder.
        SourceError: The source cannot be opened, holds no video or too large a one; the message says why in one line.
    """

    def __init__(
        self,
        source: str | Path | Pipe,
        timeout: float,
        hwaccel: str = InputSettings.hwaccel,
        max_pixels: int = InputSettings.max_pixels,
    ) -> None:
        self.is_network = isinstance(source, str)
        self.pipe = source if isinstance(source, Pipe) else None
        if isinstance(source, Pipe):
            self.path, self.label = "", source.label
        elif isinstance(source, str):
            self.path, self.label = source, _without_credentials(source)
        else:
            # An absolute path: FFmpeg would read a file name such as "concat:a|b" as a protocol.
            self.path, self.label = str(source.absolute()), str(source)
        self.damaged = 0
        self.max_pixels = max_pixels
        self.refused = False
        """Whether a frame was refused that is too large, or whose size makes no sense."""
        self._timeout = timeout
        self._hwaccel = hwaccel
        self._open()

    def close(self) -> None:
        """Close the container; may be called more than once."""
        self.container.close()

    def abandon(self) -> None:
        """End a wait for data of a pipe; called from another thread."""
        if self.pipe is not None:
            self.pipe.abandon()

    @property
    def is_file(self) -> bool:
        """Whether it can be opened again, and read from any place."""
        return not self.is_network and self.pipe is None

    @property
    def start_time(self) -> float:
        """Start of the stream in seconds."""
        return float((self.stream.start_time or 0) * self.time_base)

    @property
    def duration(self) -> float | None:
        """Duration of the stream in seconds by its header; that of the whole file where the stream has none."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        if not self.container.duration:
            return None
        # Matroska states the end on a clock from 0; other formats state the time from start to end.
        from_zero = self.container.format.name.startswith("matroska")
        return self.container.duration / av.time_base - (self.start_time if from_zero else 0.0)

    def frames(self, start: float | None = None) -> Iterator[DecodedFrame]:
        """Yield all frames from the first one, or from a key frame before `start` seconds."""
        index, frames = self._from_start() if start is None else self._from_before(start)
        repair = TimestampRepair(self.time_base, self.stream.average_rate, self.stream.start_time or 0)
        for frame in frames:
            yield DecodedFrame(index, repair(frame.pts), frame)
            index += 1

    # Opening

    def _open(self) -> None:
        if self.pipe is not None and not self.pipe.head:
            raise SourceError(f"{self.label}: nothing came (0 bytes)")
        if self.is_file and Path(self.path).stat().st_size == 0:
            raise SourceError(f"{self.label}: the file is empty (0 bytes)")
        try:
            self.container = self._open_container(self._hwaccel)
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.label}: {self._open_failure(error)}") from error
        try:
            self.stream = self._best_stream()
            check_size(self.label, self.stream.width or 0, self.stream.height or 0, self.max_pixels)
            # A stream may have no size yet, or change it.
            self.stream.codec_context.options = self._limits
            self.stream.thread_type = "AUTO"
            self.stream.thread_count = cores()
            self.time_base = self.stream.time_base or Fraction(1, av.time_base)
        except BaseException:
            self.close()
            raise

    def _open_container(self, hwaccel: str) -> av.container.InputContainer:
        # Opening decodes frames of some formats to know more of them.
        options = self._limits
        if self.path.lower().startswith("rtsp"):
            options["rtsp_transport"] = "tcp"
        timeout = (self._timeout, self._timeout) if self.is_network else None
        file = self.path if self.pipe is None else self.pipe.opened()
        return open_container(
            file, network=self.is_network, options=options, timeout=timeout, hwaccel=_hwaccel(hwaccel)
        )

    @property
    def _limits(self) -> dict[str, str]:
        """What keeps FFmpeg from making room for too large a frame, before it is decoded."""
        return {"max_pixels": str(self.max_pixels + _ALIGNMENT)}

    def _best_stream(self) -> av.VideoStream:
        streams = self.container.streams
        if self.container.format.name == "tty":  # FFmpeg renders any text file as a terminal's screen
            raise SourceError(f"{self.label}: a text file, not a video")
        # An attached picture is a cover image, not a video.
        videos = [stream for stream in streams.video if not stream.disposition & Disposition.attached_pic]
        if not videos:
            kinds = " and ".join(sorted({stream.type for stream in streams} - {"video"}))
            raise SourceError(f"{self.label}: no video stream" + (f", only {kinds}" if kinds else ""))
        best = streams.best("video")
        stream = best if best in videos else videos[0]
        if stream.codec_context is None:
            raise SourceError(f"{self.label}: FFmpeg has no decoder for this video codec")
        return stream

    def _open_failure(self, error: Exception) -> str:
        """Say why the source cannot be opened."""
        if self.is_network:
            if isinstance(error, av.error.ExitError | TimeoutError):
                return f"no answer within {self._timeout:g} s"
            if not self._opens_on_cpu():
                return f"cannot be reached or is not a video ({_reason(error)})"
        elif self.pipe is not None:
            return _content_failure(self.pipe.head)
        elif isinstance(error, PermissionError) and not os.access(self.path, os.R_OK):
            return "no permission to read this file"
        elif not self._opens_on_cpu():
            with Path(self.path).open("rb") as file:
                return _content_failure(file.read(8))
        return f"cannot decode with {self._hwaccel} on this machine ({_reason(error)})"

    def _opens_on_cpu(self) -> bool:
        """Return whether the source opens without the hardware decoder, which is then the cause of the failure."""
        if self._hwaccel == "none":
            return False
        try:
            self._open_container("none").close()
        except (av.FFmpegError, OSError):
            return False
        return True

    # Decoding

    def _from_start(self) -> tuple[int, Iterator[av.VideoFrame]]:
        return 0, self._frames()

    def _from_before(self, start: float) -> tuple[int, Iterator[av.VideoFrame]]:
        """Seek before `start` seconds; return the index of the first frame after seeking, and the frames."""
        stream = self.stream
        countable = self.is_file and stream.codec_context.name not in UNCOUNTABLE_CODECS and not self._is_avi
        target = round((start - SEEK_LEAD) / self.time_base)
        if not countable or stream.start_time is None or target <= stream.start_time:
            return self._from_start()
        index, first = None, None
        try:
            self.container.seek(target, stream=stream)
            frames = self._frames()
            first = next(frames, None)
            if first is not None and first.pts is not None and first.pts * self.time_base <= start:
                index = self._count_before(first.pts)
        except av.FFmpegError as error:
            log.debug("%s: cannot seek (%s)", self.label, error)
        if first is None or index is None:
            self.close()
            self.damaged = 0
            self._open()
            return self._from_start()
        return index, chain([first], frames)

    def _count_before(self, pts: int) -> int | None:
        """Count the frames displayed before `pts` by their packets alone; None if a packet has no timestamp."""
        count = 0
        with open_container(self.path) as container:
            for packet in container.demux(container.streams[self.stream.index]):
                if not packet.size:
                    continue
                if packet.pts is None or packet.dts is None:
                    return None
                if packet.dts > pts:
                    break
                count += packet.pts < pts and not packet.is_discard
        return count

    def _frames(self) -> Iterator[av.VideoFrame]:
        """Yield the frames that follow in the container."""
        first_dts, last_pts = None, None  # of all frames the largest time: damaged files step back
        expected = 0
        for frame, packets in self._decode(self.container, self.stream):
            expected += packets
            if frame is None:
                continue
            expected -= 1
            if self._is_avi and frame.dts is not None:
                # AVI has no display times, and FFmpeg's guesses step back. Decoding times are even, from 0.
                first_dts = frame.dts if first_dts is None else first_dts
                frame.pts = frame.dts - first_dts
            if frame.pts is not None:
                last_pts = frame.pts if last_pts is None else max(last_pts, frame.pts)
            yield frame
        if expected > 0 and last_pts is not None and self.is_file and not self._is_avi:
            yield from self._tail(last_pts, expected)

    def _tail(self, after: int, expected: int) -> Iterator[av.VideoFrame]:
        """Decode the frames displayed after `after` again, without frame threads.

        A decoder with frame threads that meets a damaged packet while it is flushed drops the good frames that it still
        holds, so a video that was cut off would lose its last ones.
        """
        damaged = self.damaged
        try:
            with open_container(self.path) as container:
                # None if another file has taken its place.
                for stream in [stream for stream in container.streams.video if stream.index == self.stream.index]:
                    stream.thread_type = "SLICE"
                    container.seek(after, stream=stream)
                    for frame, _ in self._decode(container, stream):
                        if frame is not None and frame.pts is not None and frame.pts > after:
                            expected -= 1
                            yield frame
        except av.FFmpegError as error:  # its index is damaged, too, or the file was removed
            log.debug("%s: cannot read its end again (%s)", self.label, error)
            self.damaged += 1
        # Damage before the tail is counted already.
        self.damaged = damaged + (max(expected, 0) if self.damaged > damaged else 0)

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[av.VideoFrame | None, int]]:
        """Yield (frame, 0) for each frame, and (None, number of frames that the packet adds) for each packet."""
        for packet in chain(self._packets(container, stream), [None]):
            added = int(packet is not None and not packet.is_discard)
            damaged = packet is not None and packet.is_corrupt
            frames: list[av.VideoFrame] = []
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                damaged, added = True, added - 1
                self.refused |= isinstance(error, av.error.ArgumentError)
                log.debug("%s: %s", self.label, error)
            self.damaged += damaged
            yield None, added
            for frame in frames:
                if frame.width * frame.height > self.max_pixels:
                    self.refused = True
                    self.damaged += 1
                else:
                    yield frame, 0

    def _packets(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
        """Yield the packets that hold data; an empty packet would flush the decoder."""
        errors = 0
        while errors < MAX_ERRORS_IN_A_ROW:
            try:
                for packet in container.demux(stream):
                    errors = 0
                    if packet.size:
                        yield packet
                return
            except av.error.InvalidDataError as error:
                errors += 1
                self.damaged += 1
                log.debug("%s: %s", self.label, error)
            except av.FFmpegError as error:
                self.damaged += 1
                log.warning("%s: reading stopped early (%s)", self.label, error.strerror or error)
                return

    @property
    def _is_avi(self) -> bool:
        return bool(self.container.format.name == "avi")


def _content_failure(start: bytes) -> str:
    """Say by its first bytes why a file is not a readable video."""
    if start[4:8] in MP4_BOXES:
        return "its MP4 or MOV index is missing or damaged; the recording or copy was cut off"
    if start.startswith(PLAYLISTS):
        return "a playlist or list of files, not a video"
    return "not a video, or its header is damaged"


def check_hwaccel(name: str) -> None:
    """Check that this build of PyAV has a hardware decoder.

    Args:
        name: Name of the hardware decoder, or "none" for the CPU.

    Raises:
        UsageError: PyAV does not know it; the message lists what it knows.
    """
    available = ["none", *sorted(hwdevices_available())]
    if name not in available:
        raise UsageError(f"unknown hardware decoder {name!r}; this build of PyAV has {', '.join(available)}")


def _hwaccel(name: str) -> HWAccel | None:
    """Return PyAV's hardware decoder of this name; the CPU decodes what it cannot."""
    check_hwaccel(name)
    return None if name == "none" else HWAccel(name, allow_software_fallback=True)


def _reason(error: Exception) -> str:
    """Return the system's message for an error."""
    return str(getattr(error, "strerror", None) or error)


def _without_credentials(address: str) -> str:
    """Return the address without user, password and query, which may hold keys."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
