"""OpenSeeFace's datagrams, for avatars: 1,785 bytes for each face, little-endian.

Protocol: https://github.com/emilianavt/OpenSeeFace. Its camera has the axes down, right and away, in this order; its face, from
the tip of the nose, to the left of the image, up and towards the viewer. What its fit finds, and receivers know, is the other
face that looks the same from far: it lies behind the camera, with its depth reversed. Right and left are the person's, so the
right eye is the one on the left of the image.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from scipy.spatial.transform import Rotation

from vtrack.errors import UsageError, spelled
from vtrack.layouts import load_layout
from vtrack.pipelines.outputs.streams.udp import Encoder
from vtrack.pipelines.outputs.streams.vmc import WIDE_MOUTH
from vtrack.pipelines.outputs.tables.dlc import likelihood
from vtrack.types import Face, FloatArray, FrameResult, Query

_PACKET = np.dtype(
    [
        ("time", "<f8"),
        ("id", "<i4"),
        ("frame", "<f4", 2),  # width, height
        ("open", "<f4", 2),  # right and left eye, 0 to 1
        ("fitted", "u1"),
        ("error", "<f4"),
        ("quaternion", "<f4", 4),  # x, y, z, w of the inverse rotation
        ("euler", "<f4", 3),  # degrees
        ("translation", "<f4", 3),
        ("confidence", "<f4", 68),
        ("points", "<f4", (68, 2)),  # x, y
        ("points3d", "<f4", (70, 3)),  # to the left of the image, down, away from the viewer
        ("features", "<f4", 14),
    ]
)
_MOST_FACES = 36
"""Faces that fit into a datagram."""
# Of the 68 points all but the outer corners of the mouth; the pupils follow.
_ORDER = [*range(48), *range(49, 54), *range(55, 68)]
_TIP, _EYES = 30, ((36, 39), (42, 45))
"""Tip of the nose, and corners of the eyes, among these points."""
_REVERSED = np.array([[1.0], [1.0], [-1.0]])
"""Signs of a face that looks the same from far."""
_UNIT = 0.632
"""Distance between the outer corners of the eyes of its face."""
_RADIUS = 0.385
"""Distance of an eyeball's centre behind the corners of the eye, over the distance between them."""
_EYE_LEFT, _EYE_RIGHT, _MOUTH_OPEN = 0, 1, 12
"""Features that measures tell: how far the eyes, -1 shut to 0 open, and the mouth, 0 to 1, are open."""
_OF_EXPRESSIONS = {
    3: ("browOuterUpLeft", "browDownLeft"),
    6: ("browOuterUpRight", "browDownRight"),
    8: ("mouthFrownLeft", "mouthSmileLeft"),  # it grows where the corner of the mouth goes down
    9: ("mouthStretchLeft", "mouthPucker"),
    10: ("mouthFrownRight", "mouthSmileRight"),
    11: ("mouthStretchRight", "mouthPucker"),
}
"""Features that expressions tell: what makes each positive, and what negative, -1 to 1. The others stay 0."""


def openseeface_encoder(query: Query, *, clock: Callable[[], float], unit: float) -> Encoder:
    """What makes the datagram of each frame that shows a face.

    Args:
        query: The points of the faces.
        clock: Tells the current time in seconds on the clock of the frames.
        unit: Distance between the outer corners of the eyes in the unit of places in space.

    Raises:
        UsageError: The query lacks points that are sent.
    """
    order = _indices(query)

    def encode(result: FrameResult) -> list[bytes]:
        packets = np.zeros(min(len(result.faces), _MOST_FACES), _PACKET)
        packets["time"] = time.time() - (clock() - result.time)
        packets["frame"] = result.frame.size
        for packet, face in zip(packets, result.faces, strict=False):
            _fill(packet, face, order, unit)
        return [packets.tobytes()] if len(packets) else []

    return encode


def _indices(query: Query) -> list[int]:
    """The indices in a query of the points that are sent, in their order."""
    layout = load_layout("300w").query
    places = {point: i for i, point in enumerate(zip(query.parts, query.positions, strict=True))}
    wanted = [(layout.parts[i], layout.positions[i]) for i in _ORDER] + [("left_pupil", 0.0), ("right_pupil", 0.0)]
    try:
        return [places[point] for point in wanted]
    except KeyError as error:
        raise UsageError(
            f"openseeface needs the 68 points and the pupils; track {spelled('parts', '300w,pupils')}, "
            f"or leave out {spelled('parts')}"
        ) from error


def _fill(packet: np.void, face: Face, order: list[int], unit: float) -> None:
    """Write what is known of a face into its packet."""
    measures = face.measures
    opened = np.array([measures["left_openness"], measures["right_openness"]])
    opened = np.where(np.isnan(opened), 1.0, np.clip(opened, 0.0, 2.0))
    packet["id"] = face.id
    packet["open"] = np.minimum(opened, 1.0)
    packet["features"][[_EYE_RIGHT, _EYE_LEFT]] = opened - 1.0
    packet["features"][_MOUTH_OPEN] = np.clip(np.nan_to_num(measures["mouth_open"]) / WIDE_MOUTH, 0.0, 1.0)
    if face.expressions is not None:
        ways = [face.expressions[up] - face.expressions[down] for up, down in _OF_EXPRESSIONS.values()]
        packet["features"][[*_OF_EXPRESSIONS]] = np.nan_to_num(ways)
    packet["confidence"] = np.nan_to_num(likelihood(face)[order])
    packet["points"] = np.nan_to_num(face.points[order])
    packet["error"] = np.sqrt(np.nan_to_num(np.square(face.sigma[order])).mean())
    if face.pose is None or face.points3d is None:
        return
    places = face.points3d.places[order]
    if not np.isfinite(places).all():
        return
    turn = Rotation.from_matrix(face.pose.rotation[[1, 0, 2]] * _REVERSED)
    packet["fitted"] = 1
    packet["quaternion"] = turn.inv().as_quat()
    packet["euler"] = turn.as_euler("xyz", degrees=True)
    packet["translation"] = -places[_TIP, [1, 0, 2]] * _UNIT / unit
    packet["points3d"] = _in_head(places - places[_TIP], face.pose.rotation) * _UNIT / unit


def _in_head(offsets: FloatArray, rotation: FloatArray) -> FloatArray:
    """(70, 3) points and centres of the eyeballs in the axes of the packet, from points (68, 3) in those of the camera."""
    head = offsets @ rotation
    right, left = (head[list(eye)] for eye in _EYES)
    behind = [_RADIUS * np.linalg.norm(eye[1] - eye[0]) for eye in (right, left)]
    balls = [eye.mean(0) + (0.0, 0.0, depth) for eye, depth in zip((right, left), behind, strict=True)]
    return np.vstack([head, *balls]) * (-1.0, 1.0, 1.0)
