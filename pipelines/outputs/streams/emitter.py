"""Opens a stream to other programs by its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TextIO

from vtrack.errors import UsageError
from vtrack.pipelines.measures.pose import eye_distance
from vtrack.pipelines.outputs.base import Sink
from vtrack.pipelines.outputs.streams.ndjson import NdjsonStream
from vtrack.pipelines.outputs.streams.udp import UdpStream
from vtrack.pipelines.registry import EMITTERS, NETWORK
from vtrack.pipelines.settings import Settings


def open_emitter(kind: str, to: str | None, settings: Settings, stdout: TextIO, clock: Callable[[], float]) -> Sink:
    """Open a stream of results to other programs.

    Args:
        kind: One of `EMITTERS`.
        to: HOST:PORT of a UDP receiver, `network` for what is open to all machines of it; None for stdout (ndjson) or the
            usual port of this machine.
        settings: What was tracked; its points and what is measured of faces are sent.
        stdout: Text stream that stands for stdout.
        clock: Tells the current time in seconds on the clock of the frames.

    Raises:
        UsageError: The kind or `to` is invalid, or points are missing.
        SinkError: The host is unknown.
        MissingExtraError: What it needs is not installed.
    """
    if kind not in EMITTERS:
        raise UsageError(f"cannot emit {kind!r}; choose from {', '.join(EMITTERS)}")
    entry = EMITTERS[kind]
    query, columns = settings.query, settings.measured_groups
    if kind == "ndjson" and to is None:
        return NdjsonStream(stdout, query, columns)
    unit = eye_distance(settings.pose_unit, settings.eye_distance).mean
    given = {"columns": columns, "clock": clock, "unit": unit}
    options = {name: given[name] for name in entry.takes}
    if entry.to == NETWORK:
        if to != NETWORK:
            raise UsageError(f"--emit {kind} is open to all machines of the network; allow that with --to {NETWORK}")
        sink: Sink = entry.load()(query, **options)
        return sink
    host, colon, port = (to or entry.to).rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--to takes HOST:PORT, for example {entry.to or '127.0.0.1:9000'}, got {to!r}")
    return UdpStream(host.strip("[]"), int(port), entry.load()(query, **options))
