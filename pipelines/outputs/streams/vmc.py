"""The VMC protocol, for avatars: bones of neck and head, and blend shapes, as OSC (https://protocol.vmc.info).

The protocol knows one performer, so the face that is followed longest is sent. Bones have the axes of an avatar in Unity: x to
its right, y up, z where it looks. Each is the opposite of an axis of our heads, so a quaternion has the same numbers.
Positions are 0: they are those of the avatar's skeleton, which is not known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from vtrack.pipelines.outputs.streams.osc import osc_bundles, osc_message
from vtrack.pipelines.outputs.streams.udp import Encoder
from vtrack.types import Face, FloatArray, FrameResult, Query

_LOADED, _CALIBRATED, _NORMAL = 1, 3, 0
WIDE_MOUTH = 0.5
"""Gap between the lips, in distances between the outer corners of the eyes, of a wholly open mouth, as in a yawn."""
_BLINKS = {"left": ("Blink_R", "EyeBlinkRight"), "right": ("Blink_L", "EyeBlinkLeft")}
"""Names of a blink of the eye on each side of the image: its preset in VRM 0, which every receiver must know, and that of ARKit
as Unity writes it, for models with "perfect sync". Left and right are the person's."""
_MOUTHS = ("A", "JawOpen")
"""Names of an open mouth."""


def vmc_encoder(query: Query) -> Encoder:
    """What makes the bundles of each frame."""
    return lambda result: osc_bundles(_messages(result))


def blend_shapes(face: Face) -> Mapping[str, float]:
    """The blend shapes that measures and expressions of a face tell, 0 to 1 by name; none where they are not known yet."""
    shapes = dict.fromkeys(_MOUTHS, face.measures["mouth_open"] / WIDE_MOUTH)
    for side, names in _BLINKS.items():
        shapes |= dict.fromkeys(names, 1 - face.measures[f"{side}_openness"])
    if face.expressions is not None:
        shapes |= {name[0].upper() + name[1:]: value for name, value in face.expressions.shapes.items()}
    return {name: min(max(value, 0.0), 1.0) for name, value in shapes.items() if math.isfinite(value)}


def half_turn(quaternion: FloatArray) -> FloatArray:
    """(4,) w, x, y, z of the rotation that makes this one if it is done twice; its w is not negative."""
    half = quaternion + (1.0, 0.0, 0.0, 0.0)
    return np.asarray(half / np.linalg.norm(half))


def _messages(result: FrameResult) -> Iterator[bytes]:
    face = min(result.faces, key=lambda face: face.id, default=None)
    yield osc_message("/VMC/Ext/OK", _LOADED, _CALIBRATED, _NORMAL, int(face is not None))
    yield osc_message("/VMC/Ext/T", result.time)
    if face is None:
        return
    if face.pose is not None and math.isfinite(face.pose.focal):
        # The turn of a head against the shoulders is that of two joints, each relative to the one below.
        w, x, y, z = half_turn(face.pose.quaternion).tolist()
        for bone in ("Neck", "Head"):
            yield osc_message("/VMC/Ext/Bone/Pos", bone, 0.0, 0.0, 0.0, x, y, z, w)
    for name, value in blend_shapes(face).items():
        yield osc_message("/VMC/Ext/Blend/Val", name, value)
    yield osc_message("/VMC/Ext/Blend/Apply")
