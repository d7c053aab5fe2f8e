"""AVI files as old programs wrote them, made by bytes.

AVI stores no times: a packet's time is its place among the chunks of its stream. So a repeated picture is a chunk of no
bytes; a picture and the one displayed before it are packed into one chunk, with a placeholder after them; and the times of
sound repeat where the header says that a sample has more bytes than a chunk.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vtrack.types import ImageArray

Chunk = tuple[bytes, bytes]
"""Name and content: `00dc` is a picture, `01wb` is sound."""

_RATE, _SOUND_RATE, _SOUND_FRAME = 30, 48000, 1152
_PICTURE_START = b"\0\0\1\xb6"
_PLACEHOLDER = _PICTURE_START + b"\x50\x4f\xff"
"""A picture of MPEG-4 that is not coded."""
_INTRA, _FORWARD, _BETWEEN = 0, 1, 2
"""Kinds of MPEG-4 pictures: by itself, from those before, between two."""
_LARGE_SAMPLE = 1000
"""Bytes of a sample of sound; the chunks have 192."""


def write_plain(path: Path, pictures: Sequence[ImageArray]) -> Path:
    """MPEG-4 with two pictures between each two others, and MP3."""
    height, width = pictures[0].shape[:2]
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=_RATE, options={"bf": "2"})
        video.width, video.height, video.pix_fmt, video.bit_rate, video.gop_size = (
            width,
            height,
            "yuv420p",
            3_000_000,
            12,
        )
        sound = output.add_stream("mp3", rate=_SOUND_RATE)
        sound.layout = "mono"
        packets = []
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, Fraction(1, _RATE)
            packets += video.encode(frame)
        for at in range(0, _SOUND_RATE * len(pictures) // _RATE, _SOUND_FRAME):
            wave = np.sin(2 * np.pi * 440 * np.arange(at, at + _SOUND_FRAME) / _SOUND_RATE) * 2**29
            samples = av.AudioFrame.from_ndarray(wave.astype(np.int32)[None], format="s32p", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = _SOUND_RATE, at, Fraction(1, _SOUND_RATE)
            packets += sound.encode(samples)
        packets += video.encode(None) + sound.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            output.mux(packet)
    return path


def write_old(path: Path, plain: Path) -> Path:
    """The same pictures packed, with chunks of no bytes between them, and sound whose times repeat."""
    header, chunks = _read(plain)
    sound = [chunk for chunk in chunks if chunk[0] == b"01wb"]
    pictures = _packed([content for name, content in chunks if name == b"00dc" and content])
    video = [(b"00dc", content) for i, picture in enumerate(pictures) for content in [picture, b""][: 1 + (i % 8 == 7)]]
    each = len(sound) // len(video) + 1
    mixed = [chunk for i, picture in enumerate(video) for chunk in (picture, *sound[each * i : each * (i + 1)])]
    _write(path, _with_large_samples(header), mixed)
    return path


def copy_streams(path: Path, into: Path) -> Path:
    """Copy the packets as `ffmpeg -c copy` does: one whose time is not after the last gets the next millisecond."""
    with av.open(str(path)) as source, av.open(str(into), "w") as output:
        copies = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        last: dict[int, int] = {}
        for packet in source.demux():
            if packet.size and packet.dts is not None:
                index, time = packet.stream.index, round(packet.dts * packet.time_base * 1000)
                last[index] = max(time, last.get(index, -1) + 1)
                packet.stream, packet.time_base = copies[index], Fraction(1, 1000)
                packet.pts = packet.dts = last[index]
                output.mux(packet)
    return into


def _with_large_samples(header: bytes) -> bytes:
    changed = bytearray(header)
    place = header.index(b"auds")
    struct.pack_into("<I", changed, place + 44, _LARGE_SAMPLE)  # dwSampleSize
    struct.pack_into("<H", changed, header.index(b"strf", place) + 20, _LARGE_SAMPLE)  # nBlockAlign
    return bytes(changed)


def _read(path: Path) -> tuple[bytes, list[Chunk]]:
    """What stands before the packets, and the packets."""
    header, chunks = b"", []
    for name, content in _chunks(path.read_bytes()[12:]):
        if name == b"LIST" and content.startswith(b"movi"):
            chunks = list(_chunks(content[4:]))
        elif name != b"idx1":
            header += _chunk(name, content)
    return header, chunks


def _write(path: Path, header: bytes, chunks: Sequence[Chunk]) -> None:
    packets, index = b"movi", b""
    for name, content in chunks:
        key = 0 if name == b"00dc" and _kind(content) != _INTRA else 0x10
        index += name + struct.pack("<III", key, len(packets), len(content))
        packets += _chunk(name, content)
    path.write_bytes(_chunk(b"RIFF", b"AVI " + header + _chunk(b"LIST", packets) + _chunk(b"idx1", index)))


def _chunks(data: bytes) -> Iterator[Chunk]:
    place = 0
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        yield name, data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _kind(picture: bytes) -> int | None:
    place = picture.find(_PICTURE_START)
    return None if place < 0 else picture[place + 4] >> 6


def _packed(pictures: Sequence[bytes]) -> list[bytes]:
    """Join each picture with the one after it, if that is displayed first, as DivX did, whose mark makes decoders expect it."""
    packed: list[bytes] = []
    before = None
    for picture in (re.sub(rb"Lavc[\d.]+", b"DivX503b1393p", each) for each in pictures):
        kind = _kind(picture)
        if kind == _BETWEEN != before and packed:
            packed[-1] += picture
        else:
            packed += [_PLACEHOLDER] * (before == _BETWEEN != kind) + [picture]
        before = kind
    return packed
