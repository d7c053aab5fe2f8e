"""OSC, for instruments and lights: bundles of messages.

    /vtrack/frame                     int index, float seconds, int faces, int width, int height
    /vtrack/face/<id>/<part>          float x, y of each point of the part, 0..1 over the frame
    /vtrack/face/<id>/<part>/3d       float x, y, z of each point of the part in space, where that was asked for
    /vtrack/face/<id>/<measure>       float: left_eye_open, mouth_open, yaw ...
    /vtrack/face/<id>/pose            float Tx, Ty, Tz, Rx, Ry, Rz, qw, qx, qy, qz of the head, where it was asked for
    /vtrack/face/<id>/<expression>    float: jawOpen, mouthSmileLeft, AU12_proxy ..., where they were asked for

A bundle that does not fit into one datagram is split into several.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator

import numpy as np

from vtrack.measures import EXPRESSIONS
from vtrack.pipelines.outputs.streams.udp import Encoder
from vtrack.types import FrameResult, Query

_MAX_DATAGRAM = 1400
"""Largest size of a datagram in bytes; fits into one packet of common networks."""
_BUNDLE = b"#bundle\0" + struct.pack(">Q", 1)  # time tag 1: immediately


def osc_encoder(query: Query) -> Encoder:
    """What makes the bundles of each frame."""
    return lambda result: osc_bundles(_messages(result))


def osc_bundles(messages: Iterable[bytes]) -> Iterator[bytes]:
    """Yield bundles of OSC messages, in order, as few as fit into datagrams."""
    bundle = _BUNDLE
    for message in messages:
        if len(bundle) > len(_BUNDLE) and len(bundle) + len(message) + 4 > _MAX_DATAGRAM:
            yield bundle
            bundle = _BUNDLE
        bundle += struct.pack(">i", len(message)) + message
    yield bundle


def osc_message(address: str, *values: float | str) -> bytes:
    """Return an OSC 1.0 message of 32-bit integers and floats, and text."""
    tags = "".join("i" if isinstance(value, int) else "s" if isinstance(value, str) else "f" for value in values)
    packed = [
        _padded(value) if isinstance(value, str) else struct.pack(f">{tag}", value)
        for tag, value in zip(tags, values, strict=True)
    ]
    return b"".join([_padded(address), _padded("," + tags), *packed])


def _messages(result: FrameResult) -> Iterator[bytes]:
    size = result.frame.size
    yield osc_message("/vtrack/frame", result.index, result.time, len(result.faces), *size)
    for face in result.faces:
        root = f"/vtrack/face/{face.id}"
        for part in dict.fromkeys(face.query.parts):
            positions = (face[part] + 0.5) / size
            yield osc_message(f"{root}/{part}", *map(float, positions.ravel()))
            if face.points3d is not None:
                places = face.points3d.places[face.query.indices(part)]
                if np.isfinite(places).all():
                    yield osc_message(f"{root}/{part}/3d", *map(float, places.ravel()))
        expressions = {} if face.expressions is None else {name: face.expressions[name] for name in EXPRESSIONS}
        for name, value in {**face.measures, **expressions}.items():
            if math.isfinite(value):
                yield osc_message(f"{root}/{name}", value)
        if face.pose is not None and math.isfinite(face.pose.focal):
            numbers = np.concatenate([face.pose.translation, face.pose.angles, face.pose.quaternion])
            yield osc_message(f"{root}/pose", *numbers.tolist())


def _padded(text: str) -> bytes:
    """Return the text as ASCII with a final zero, padded to a multiple of four bytes."""
    data = text.encode("ascii", "replace") + b"\0"
    return data + b"\0" * (-len(data) % 4)
