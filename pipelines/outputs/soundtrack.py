"""The sound and subtitles of a source, carried into the annotated video packet by packet, as they are.

The source is opened a second time and read beside the pictures, so memory does not grow with its length.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

log = logging.getLogger(__name__)

_TIMEOUT = 15
"""Seconds that a source on the network may be silent."""


class Soundtrack:
    """All audio and subtitle tracks of a source within `start <= time < stop`, on the source's clock less `origin`.

    Sound often begins a little before time 0 with samples that only warm the decoder up. MP4 keeps that, and so does
    Matroska of what comes from Matroska. Of what comes from elsewhere it would delay all tracks instead, so there such
    packets are left out, or begin at 0 if they reach beyond it.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        start: float | None = None,
        stop: float | None = None,
        origin: Fraction = Fraction(0),
    ) -> None:
        self.source = source
        self._start, self._stop, self._origin = start, stop, origin
        self._input: InputContainer | None = None
        self._keeps_negative = True
        self._copies: dict[int, Stream] = {}
        self._packets: Iterator[Packet] = iter(())
        self._ahead: Packet | None = None

    def add_to(self, output: OutputContainer) -> None:
        """Make a track in the output for each one that its container can hold; one warning names the others."""
        try:
            self._input = av.open(str(self.source), timeout=_TIMEOUT, metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            log.warning("no sound: %s cannot be opened a second time: %s", self.source, error.strerror)
            return
        self._keeps_negative = "matroska" in self._input.format.name or output.format.name != "matroska"
        left_out = []
        for stream in self._input.streams:
            if stream.type not in ("audio", "subtitle"):
                continue
            if _can_hold(output.format.name, stream):
                copy = output.add_stream_from_template(stream)
                copy.disposition = stream.disposition
                copy.metadata.update(stream.metadata)
                self._copies[stream.index] = copy
            else:
                codec = stream.codec_context.name if stream.codec_context else "unknown"
                left_out.append(f"{stream.type} track {stream.index} ({codec})")
        if left_out:
            log.warning("%s cannot hold %s of %s", output.format.long_name, ", ".join(left_out), self.source)
        if self._copies:
            if self._start is not None and self._start > 1:
                # Reading everything before would do as well, only slowly.
                with suppress(av.FFmpegError):
                    self._input.seek(int((self._start - 1) * av.time_base))
            self._packets = self._input.demux([self._input.streams[index] for index in self._copies])

    def until(self, time: Fraction | None = None) -> Iterator[Packet]:
        """The packets not given yet up to a time on the source's clock (None: all), ready for the output."""
        while True:
            packet = self._next() if self._ahead is None else self._ahead
            if packet is None or (time is not None and _time(packet) > time):
                self._ahead = packet
                return
            self._ahead = None
            if self._wanted(packet) and self._moved(packet):
                yield packet

    def close(self) -> None:
        """Let go of the source."""
        if self._input is not None:
            self._input.close()

    def _next(self) -> Packet | None:
        try:
            return next((packet for packet in self._packets if packet.size and _ticks(packet) is not None), None)
        except av.FFmpegError as error:
            log.warning("the sound of %s ends early: %s", self.source, error.strerror)
            return None

    def _wanted(self, packet: Packet) -> bool:
        if packet.stream.codec_context.name == "mov_text" and packet.size == 2:
            return False  # MP4's pause between two captions, which its writer puts in again
        shown = float(_time(packet))
        return (self._start is None or shown >= self._start) and (self._stop is None or shown < self._stop)

    def _moved(self, packet: Packet) -> bool:
        """Put the packet into its new track and on the new clock; False if it has no place there."""
        shift = round(self._origin / packet.time_base)
        packet.stream = self._copies[packet.stream.index]
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
        early = _ticks(packet) or 0
        if early >= 0 or self._keeps_negative:
            return True
        packet.pts = packet.dts = 0
        return early + (packet.duration or 0) > 0


def _ticks(packet: Packet) -> int | None:
    return packet.dts if packet.pts is None else packet.pts


def _time(packet: Packet) -> Fraction:
    """When the packet is heard or shown."""
    return Fraction(_ticks(packet) or 0) * packet.time_base


def _can_hold(container: str, stream: Stream) -> bool:
    """Whether a container takes a track as it is: asked of the container itself, by writing it a header."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True
