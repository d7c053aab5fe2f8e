"""JSON lines, one for each frame, to a text stream or as datagrams."""

from __future__ import annotations

from collections.abc import Collection
from types import TracebackType
from typing import TextIO

from vtrack.errors import SinkError
from vtrack.pipelines.outputs.base import ExceptionType, Sink
from vtrack.pipelines.outputs.streams.udp import Encoder
from vtrack.pipelines.outputs.tables.jsonl import JsonFormatter
from vtrack.types import FrameResult, Query


class NdjsonStream(Sink):
    """Writes one line of JSON for each frame to a text stream.

    Args:
        stream: Text stream, such as stdout.
        query: The points of the faces.
        columns: Names of extra column groups.

    Raises:
        BrokenPipeError: While writing, if the program that reads the stream has ended.
    """

    def __init__(self, stream: TextIO, query: Query, columns: Collection[str] = ()) -> None:
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


def line_encoder(query: Query, *, columns: Collection[str] = ()) -> Encoder:
    """What makes a datagram with the line of each frame."""
    line = JsonFormatter(query, columns, events=True)
    return lambda result: [line(result).encode()]
