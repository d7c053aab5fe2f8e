"""Copying the audio and subtitles of a source into the annotated video, packet by packet, without re-encoding.

The source is opened a second time and read along with the frames, so memory does not grow with its length.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from math import ceil
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import Stream

from vtrack.pipelines.sources.container import open_container
from vtrack.pipelines.sources.open import is_address

log = logging.getLogger(__name__)

_TIMEOUT = 15
"""Seconds that a network source may stay silent."""


class Soundtrack:
    """All audio and subtitle streams of a source with `start <= time < stop`.

    Audio often begins a little before time 0, with samples that only prime the decoder. MP4 can store that, and Matroska
    can if the source is Matroska. From other sources Matroska would delay all streams instead, so such packets are
    dropped, or begin at 0 if they last beyond it.

    Args:
        source: Path or address of the source.
        start: First time to copy, in seconds on the source's clock; None for the beginning.
        stop: End in seconds, excluded; None for the end.
        origin: Time on the source's clock that becomes time 0 of the output.
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
        self._streams: dict[int, Stream] = {}
        self._clocks: dict[int, _Clock] = {}
        self._packets: Iterator[Packet] = iter(())
        self._pending: Packet | None = None

    def add_to(self, output: OutputContainer) -> None:
        """Add a stream to the output for each one that its container can hold; one warning names the others."""
        try:
            self._input = open_container(
                str(self.source), network=is_address(self.source), timeout=(_TIMEOUT, _TIMEOUT)
            )
        except (av.FFmpegError, OSError) as error:
            log.warning("no audio copied: cannot open %s a second time: %s", self.source, error.strerror)
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
                self._streams[stream.index] = copy
            else:
                codec = stream.codec_context.name if stream.codec_context else "unknown"
                left_out.append(f"{stream.type} stream {stream.index} ({codec})")
        if left_out:
            log.warning("%s cannot hold %s of %s; left out", output.format.long_name, ", ".join(left_out), self.source)
        if self._streams:
            if self._start is not None and self._start > 1:
                # Seeking only saves time: without it everything before is read and dropped.
                with suppress(av.FFmpegError):
                    self._input.seek(int((self._start - 1) * av.time_base))
            self._packets = self._input.demux([self._input.streams[index] for index in self._streams])

    def until(self, time: Fraction | None = None) -> Iterator[Packet]:
        """Yield the next packets for the output, up to a time on the source's clock; None for all."""
        while True:
            packet = self._next() if self._pending is None else self._pending
            if packet is None or (time is not None and _time(packet) > time):
                self._pending = packet
                return
            self._pending = None
            if self._selected(packet) and self._retime(packet):
                yield packet

    def close(self) -> None:
        """Close the source; may be called more than once."""
        if self._input is not None:
            self._input.close()

    def _next(self) -> Packet | None:
        try:
            packet = next((packet for packet in self._packets if packet.size and _ticks(packet) is not None), None)
        except av.FFmpegError as error:
            log.warning("audio of %s ends early: %s", self.source, error.strerror)
            return None
        if packet is not None:
            index = packet.stream.index
            if index not in self._clocks:
                self._clocks[index] = _Clock(packet.time_base, self._streams[index].time_base)
            self._clocks[index].repair(packet)
        return packet

    def _selected(self, packet: Packet) -> bool:
        if packet.stream.codec_context.name == "mov_text" and packet.size == 2:
            return False  # MP4's empty caption between two captions; its writer adds it again
        time = float(_time(packet))
        return (self._start is None or time >= self._start) and (self._stop is None or time < self._stop)

    def _retime(self, packet: Packet) -> bool:
        """Move the packet to its new stream and clock; return False if it must be dropped."""
        shift = round(self._origin / packet.time_base)
        packet.stream = self._streams[packet.stream.index]
        if packet.pts is not None:
            packet.pts -= shift
        if packet.dts is not None:
            packet.dts -= shift
        begin = _ticks(packet) or 0
        if begin < 0 and not self._keeps_negative:
            packet.pts = packet.dts = 0
            if begin + (packet.duration or 0) <= 0:
                return False
        return True


def _ticks(packet: Packet) -> int | None:
    """Return the time at which the packet is played, in units of its time base."""
    return packet.dts if packet.pts is None else packet.pts


def _time(packet: Packet) -> Fraction:
    """Return the time at which the packet is played, in seconds."""
    return Fraction(_ticks(packet) or 0) * packet.time_base


def _can_hold(container: str, stream: Stream) -> bool:
    """Return whether a container can hold a stream without re-encoding, by writing a header with it."""
    try:
        with av.open(io.BytesIO(), "w", format=container) as trial:
            trial.add_stream_from_template(stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


class _Clock:
    """Makes the decoding times of one stream grow, as containers demand: in old, damaged and joined files they step back."""

    def __init__(self, time_base: Fraction, output: Fraction | None) -> None:
        self._second = 1 / time_base
        self._tick = max(1, ceil((output or time_base) / time_base))
        """Units of the source in which the output tells two times apart."""
        self._offset = 0
        self._last: int | None = None
        self._end = 0

    def repair(self, packet: Packet) -> None:
        """Move the packet to where the last one ended if the clock restarts, and past the last one if it steps back."""
        given = _ticks(packet) if packet.dts is None else packet.dts
        dts = (given or 0) + self._offset
        if self._last is not None:
            if dts + self._second <= self._last:
                self._offset += self._end - dts
                dts = self._end
            dts = max(dts, self._last + self._tick)
        if packet.pts is not None:
            packet.pts = max(packet.pts + self._offset, dts)
        packet.dts, self._last, self._end = dts, dts, dts + max(packet.duration or 0, self._tick)
