"""Pictures out of a video file or stream with PyAV, whatever state it is in."""

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
from vtrack.pipelines.sources.timestamps import Clock
from vtrack.runtime.cores import cores

logger = logging.getLogger(__name__)

# A damaged container may report errors for ever; after so many in a row it is at its end.
MAX_ERRORS_IN_A_ROW = 100
# Seconds. Seeking goes by decoding time, which differs from display time by a few frames; this is more than that.
SEEK_LEAD = 1.0
# Codecs in which not every packet is a picture to show, so that packets cannot be counted in place of pictures.
UNCOUNTABLE_CODECS = frozenset({"vp8"})
# First boxes of an MP4 or MOV file.
MP4_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"})


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """A decoded picture, not converted yet."""

    index: int
    """How many pictures of the stream are shown before it."""
    pts: int
    frame: av.VideoFrame


class Decoder:
    """The pictures of a file's or address's video stream in display order. Damaged packets are skipped and counted."""

    def __init__(self, source: str | Path, timeout: float, hwaccel: str = "none") -> None:
        self.is_network = isinstance(source, str)
        # An absolute path, for FFmpeg would take a file called "concat:a|b" for a protocol.
        self.path = source if isinstance(source, str) else str(source.absolute())
        self.label = _without_secrets(source) if isinstance(source, str) else str(source)
        self.damaged = 0
        self._timeout = timeout
        self._chip = hwaccel
        self._open()

    def close(self) -> None:
        """Close the container; may be called more than once."""
        self.container.close()

    @property
    def start_time(self) -> float:
        """Seconds at which the stream starts."""
        return float((self.stream.start_time or 0) * self.time_base)

    @property
    def duration(self) -> float | None:
        """Seconds that the stream lasts by its header; the whole file's where it does not say."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        if not self.container.duration:
            return None
        # Matroska counts from 0, the others from their start.
        from_zero = self.container.format.name.startswith("matroska")
        return self.container.duration / av.time_base - (self.start_time if from_zero else 0.0)

    def pictures(self, start: float | None = None) -> Iterator[Picture]:
        """All pictures from the first one, or from some key frame before `start` seconds."""
        index, frames = self._from_start() if start is None else self._from_before(start)
        clock = Clock(self.time_base, self.stream.average_rate, self.stream.start_time or 0)
        for frame in frames:
            yield Picture(index, clock(frame.pts), frame)
            index += 1

    # Opening

    def _open(self) -> None:
        if not self.is_network and Path(self.path).stat().st_size == 0:
            raise SourceError(f"{self.label}: the file is empty (0 bytes)")
        try:
            self.container = self._opened(self._chip)
        except (av.FFmpegError, OSError) as error:
            raise SourceError(f"{self.label}: {self._why_not_open(error)}") from error
        try:
            self.stream = self._best_stream()
            self.stream.thread_type = "AUTO"
            self.stream.thread_count = cores()
            self.time_base = self.stream.time_base or Fraction(1, av.time_base)
        except BaseException:
            self.close()
            raise

    def _opened(self, chip: str) -> av.container.InputContainer:
        options = {"rtsp_transport": "tcp"} if self.path.lower().startswith("rtsp") else {}
        timeout = (self._timeout, self._timeout) if self.is_network else None
        return av.open(self.path, options=options, timeout=timeout, metadata_errors="replace", hwaccel=_hwaccel(chip))

    def _best_stream(self) -> av.VideoStream:
        streams = self.container.streams
        if self.container.format.name == "tty":  # FFmpeg can show any text as a terminal's picture
            raise SourceError(f"{self.label}: not a video but text")
        moving = [stream for stream in streams.video if not stream.disposition & Disposition.attached_pic]
        if not moving:
            kinds = " and ".join(sorted({stream.type for stream in streams} - {"video"}))
            raise SourceError(f"{self.label}: no video stream" + (f", only {kinds}" if kinds else ""))
        best = streams.best("video")
        stream = best if best in moving else moving[0]
        if stream.codec_context is None:
            raise SourceError(f"{self.label}: no decoder for this kind of video")
        return stream

    def _why_not_open(self, error: Exception) -> str:
        if self.is_network:
            if isinstance(error, av.error.ExitError | TimeoutError):
                return f"no answer within {self._timeout:g} s"
            if not self._opens_plainly():
                return f"cannot be reached or is not a video ({_reason(error)})"
        elif isinstance(error, PermissionError) and not os.access(self.path, os.R_OK):
            return "no permission to read it"
        elif not self._opens_plainly():
            with Path(self.path).open("rb") as file:
                if file.read(8)[4:] in MP4_BOXES:
                    return "this MP4 or MOV lacks its index or has a damaged one; the recording or copy was cut off"
            return "not a video, or its header is damaged"
        return f"there is no {self._chip} to decode on here ({_reason(error)})"

    def _opens_plainly(self) -> bool:
        """Whether it was for the chip's sake that it could not be opened."""
        if self._chip == "none":
            return False
        try:
            self._opened("none").close()
        except (av.FFmpegError, OSError):
            return False
        return True

    # Decoding

    def _from_start(self) -> tuple[int, Iterator[av.VideoFrame]]:
        return 0, self._frames()

    def _from_before(self, start: float) -> tuple[int, Iterator[av.VideoFrame]]:
        """The index of the first frame that comes after seeking, and the frames."""
        stream = self.stream
        countable = not self.is_network and stream.codec_context.name not in UNCOUNTABLE_CODECS and not self._is_avi
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
            logger.debug("%s: cannot seek (%s)", self.label, error)
        if first is None or index is None:
            self.close()
            self.damaged = 0
            self._open()
            return self._from_start()
        return index, chain([first], frames)

    def _count_before(self, pts: int) -> int | None:
        """How many pictures are shown before `pts`, by their packets alone; None if packets do not say when."""
        count = 0
        with av.open(self.path, metadata_errors="replace") as container:
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
        first_dts, last_pts = None, None
        expected = 0
        for frame, packets in self._decode(self.container, self.stream):
            expected += packets
            if frame is None:
                continue
            expected -= 1
            if self._is_avi and frame.dts is not None:
                # AVI has no display times; FFmpeg's guesses step back. Decoding times are even, from 0.
                first_dts = frame.dts if first_dts is None else first_dts
                frame.pts = frame.dts - first_dts
            last_pts = frame.pts
            yield frame
        if expected > 0 and last_pts is not None and not self.is_network and not self._is_avi:
            yield from self._tail(last_pts, expected)

    def _tail(self, after: int, expected: int) -> Iterator[av.VideoFrame]:
        """Frames shown after `after`, decoded again without threads.

        A decoder with frame threads that meets a damaged packet while it is emptied gives up the good pictures that it
        still holds, so a video that was cut off would lose its last ones.
        """
        damaged = self.damaged
        with av.open(self.path, metadata_errors="replace") as container:
            stream = next(stream for stream in container.streams.video if stream.index == self.stream.index)
            stream.thread_type = "SLICE"
            container.seek(after, stream=stream)
            for frame, _ in self._decode(container, stream):
                if frame is not None and frame.pts is not None and frame.pts > after:
                    expected -= 1
                    yield frame
        # Damage before the tail has been counted already.
        self.damaged = damaged + (max(expected, 0) if self.damaged > damaged else 0)

    def _decode(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[av.VideoFrame | None, int]]:
        """Frames, or None where a packet gives none yet; with each, how many more pictures the decoder now owes."""
        for packet in chain(self._packets(container, stream), [None]):
            owed = int(packet is not None and not packet.is_discard)
            damaged = packet is not None and packet.is_corrupt
            frames: list[av.VideoFrame] = []
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                damaged, owed = True, owed - 1
                logger.debug("%s: %s", self.label, error)
            self.damaged += damaged
            yield None, owed
            for frame in frames:
                yield frame, 0

    def _packets(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
        """Packets that hold data; an empty one would tell the decoder that the video is over."""
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
                logger.debug("%s: %s", self.label, error)
            except av.FFmpegError as error:
                self.damaged += 1
                logger.warning("%s: reading ended early (%s)", self.label, error.strerror or error)
                return

    @property
    def _is_avi(self) -> bool:
        return bool(self.container.format.name == "avi")


def check_hwaccel(name: str) -> None:
    """Raise for a chip that this build of FFmpeg does not know."""
    known = hwdevices_available()
    if name != "none" and name not in known:
        raise UsageError(
            f"there is no {name!r} to decode on; this build of PyAV knows none, {', '.join(sorted(known))}"
        )


def _hwaccel(name: str) -> HWAccel | None:
    """FFmpeg's decoding on a chip of this name; what that cannot decode the CPU does."""
    check_hwaccel(name)
    return None if name == "none" else HWAccel(name, allow_software_fallback=True)


def _reason(error: Exception) -> str:
    """What the system says of it."""
    return str(getattr(error, "strerror", None) or error)


def _without_secrets(address: str) -> str:
    """The address without user, password and query, which may hold keys."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
