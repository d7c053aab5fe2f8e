"""Datagrams of results, sent by UDP."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from vtrack.errors import SinkError
from vtrack.pipelines.outputs.base import ExceptionType, Sink
from vtrack.types import FrameResult

log = logging.getLogger(__name__)

Encoder = Callable[[FrameResult], Iterable[bytes]]
"""Makes the datagrams of a frame."""


class UdpStream(Sink):
    """Sends results over UDP, which never waits for a receiver.

    Datagrams that the system refuses to send, as without a network, are dropped and counted; the log reports the first one.

    Args:
        host: Host name or address of the receiver.
        port: UDP port of the receiver.
        encode: Makes the datagrams.

    Attributes:
        dropped: Number of datagrams that were not sent.

    Raises:
        SinkError: The host is unknown.
    """

    def __init__(self, host: str, port: int, encode: Encoder) -> None:
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        except OSError as error:
            raise SinkError(f"cannot send to {host}:{port}: {error.strerror or error}") from error
        self._address: tuple[Any, ...] = address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._encode = encode
        self.dropped = 0

    def write(self, result: FrameResult) -> None:
        for datagram in self._encode(result):
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
