"""Streams of results to other programs: one line of JSON for each frame, or OSC messages over UDP.

OSC, for instruments and avatars, sends one bundle for each frame:

    /vtrack/frame                     int index, float seconds, int faces, int width, int height
    /vtrack/face/<id>/<part>          float x, y of each point of the part, 0..1 over the frame
    /vtrack/face/<id>/<measure>       float: left_eye_open, mouth_open, yaw ...
    /vtrack/face/<id>/pose            float Tx, Ty, Tz, Rx, Ry, Rz, qw, qx, qy, qz of the head, where it was asked for

A bundle that does not fit into one datagram is split into several.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
import struct
from collections.abc import Collection, Iterator
from types import TracebackType
from typing import Any, TextIO

import numpy as np

from vtrack.errors import SinkError, UsageError
from vtrack.pipelines.outputs.base import ExceptionType, Sink
from vtrack.pipelines.outputs.tables.jsonl import JsonFormatter
from vtrack.types import FrameResult, Query

log = logging.getLogger(__name__)

FORMATS = ("ndjson", "osc")
_COLUMNS = ("measures",)
_PORT = 9000
"""Default port of OSC."""
_MAX_DATAGRAM = 1400
"""Largest size of a datagram in bytes; fits into one packet of common networks."""
_BUNDLE = b"#bundle\0" + struct.pack(">Q", 1)  # time tag 1: immediately


class NdjsonStream(Sink):
    """Writes one line of JSON for each frame to a text stream.

    Args:
        stream: Text stream, such as stdout.
        query: The points of the faces.
        columns: Names of extra column groups.

    Raises:
        BrokenPipeError: While writing, if the program that reads the stream has ended.
    """

    def __init__(self, stream: TextIO, query: Query, columns: Collection[str] = _COLUMNS) -> None:
        self._stream, self._line = stream, JsonFormatter(query, columns, events=True)

    def write(self, result: FrameResult) -> None:
        try:
            self._stream.write(self._line(result))
            self._stream.flush()
        except BrokenPipeError:  # the reader has ended, which is no fault of the output
            raise
        except OSError as error:
            raise SinkError(f"cannot write JSON lines: {error.strerror or error}") from error

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class UdpStream(Sink):
    """Sends results over UDP, which never waits for a receiver.

    Datagrams that the system refuses to send, as without a network, are dropped and counted; the log reports the first one.

    Args:
        host: Host name or address of the receiver.
        port: UDP port of the receiver.
        query: The points of the faces.
        format: `ndjson` or `osc`.
        columns: Names of extra column groups of `ndjson`; OSC has what the faces have.

    Attributes:
        dropped: Number of datagrams that were not sent.

    Raises:
        SinkError: The host is unknown.
    """

    def __init__(self, host: str, port: int, query: Query, format: str, columns: Collection[str] = _COLUMNS) -> None:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise SinkError(f"cannot send to {host}:{port}: {error.strerror or error}") from error
        self._address: tuple[Any, ...] = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self.dropped = 0
        self._line = JsonFormatter(query, columns, events=True) if format == "ndjson" else None

    def write(self, result: FrameResult) -> None:
        datagrams = osc_bundles(result) if self._line is None else iter([self._line(result).encode()])
        for datagram in datagrams:
            try:
                self._socket.sendto(datagram, self._address)
            except ConnectionRefusedError:
                pass  # no receiver listens yet; one may start later
            except OSError as error:
                if not self.dropped:
                    hint = "; ask for fewer points" if error.errno == errno.EMSGSIZE else ""
                    target = f"{self._address[0]}:{self._address[1]}"
                    log.warning("cannot send to %s: %s%s; going on without", target, error.strerror, hint)
                self.dropped += 1

    def __exit__(self, kind: ExceptionType, error: BaseException | None, trace: TracebackType | None) -> None:
        self._socket.close()


def open_emitter(
    format: str, to: str | None, query: Query, stdout: TextIO, columns: Collection[str] = _COLUMNS
) -> Sink:
    """Open a stream of results to other programs.

    Args:
        format: One of `FORMATS`.
        to: HOST:PORT of a UDP receiver; None for stdout (ndjson) or port 9000 of this machine (osc).
        query: The points of the faces.
        stdout: Text stream that stands for stdout.
        columns: Names of extra column groups.

    Raises:
        UsageError: The format or `to` is invalid.
        SinkError: The host is unknown.
    """
    if format not in FORMATS:
        raise UsageError(f"cannot emit {format!r}; choose from {', '.join(FORMATS)}")
    if to is None and format == "ndjson":
        return NdjsonStream(stdout, query, columns)
    host, colon, port = (to or f"127.0.0.1:{_PORT}").rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--to takes HOST:PORT, for example 127.0.0.1:{_PORT}, got {to!r}")
    return UdpStream(host.strip("[]"), int(port), query, format, columns)


def osc_bundles(result: FrameResult) -> Iterator[bytes]:
    """Yield the OSC bundles of one frame."""
    bundle = _BUNDLE
    for message in _messages(result):
        if len(bundle) > len(_BUNDLE) and len(bundle) + len(message) + 4 > _MAX_DATAGRAM:
            yield bundle
            bundle = _BUNDLE
        bundle += struct.pack(">i", len(message)) + message
    yield bundle


def _messages(result: FrameResult) -> Iterator[bytes]:
    size = result.frame.size
    yield osc_message("/vtrack/frame", result.index, result.time, len(result.faces), *size)
    for face in result.faces:
        root = f"/vtrack/face/{face.id}"
        for part in dict.fromkeys(face.query.parts):
            positions = (face[part] + 0.5) / size
            yield osc_message(f"{root}/{part}", *map(float, positions.ravel()))
        for name, value in face.measures.items():
            if math.isfinite(value):
                yield osc_message(f"{root}/{name}", value)
        if face.pose is not None and math.isfinite(face.pose.focal):
            numbers = np.concatenate([face.pose.translation, face.pose.angles, face.pose.quaternion])
            yield osc_message(f"{root}/pose", *numbers.tolist())


def osc_message(address: str, *values: float) -> bytes:
    """Return an OSC 1.0 message of 32-bit integers and floats."""
    tags = "," + "".join("i" if isinstance(value, int) else "f" for value in values)
    packed = struct.pack(">" + tags[1:], *values)
    return _padded(address) + _padded(tags) + packed


def _padded(text: str) -> bytes:
    """Return the text as ASCII with a final zero, padded to a multiple of four bytes."""
    data = text.encode("ascii", "replace") + b"\0"
    return data + b"\0" * (-len(data) % 4)
