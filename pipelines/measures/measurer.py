"""What faces do, in numbers: how far eyes and mouth are open, brows raised, mouth widened, the head turned; and blinks.

All of it follows from named points, `MEASURED`, with no further model. Lengths are shares of the distance between the
eyes' outer corners as seen from the front: upright lengths are divided by that distance with the head's turn undone,
widths by the distance as it appears, which shrinks with them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vtrack.pipelines.measures.points import MEASURED, MEASURES, SPOTS
from vtrack.types import FloatArray, FrameResult, Measures, Query

_PLACES = {part: np.array(MEASURED.indices(part)) for part in SPOTS}
_LEFT, _RIGHT = _PLACES["left_eye"], _PLACES["right_eye"]
# Outer corner, inner corner of each eye, bridge and base of the nose: what the face's expression hardly moves.
_RIGID = np.concatenate([_LEFT[[0, 3]], _RIGHT[[0, 3]], _PLACES["nose_bridge"], _PLACES["nose_base"]])
# Their mean places in space: x right, y down, z away from the viewer, outer corners of the eyes 1 apart. Our own fit, by
# alternating least squares (a turn and scale for each face, then the mean face), made symmetric, to the 1790 training
# faces of `w68`, whose median face looks straight ahead. The test of this module fits them anew.
MEAN_FACE = np.array([
    (-0.5, -0.2616, 0.2465), (-0.2152, -0.2424, 0.1811), (0.2152, -0.2424, 0.1811), (0.5, -0.2616, 0.2465),
    (0.0, -0.2782, -0.0273), (0.0, -0.1383, -0.1028), (0.0, 0.0007, -0.1871), (0.0, 0.1435, -0.2687),
    (-0.1645, 0.2336, -0.0263), (-0.0852, 0.2625, -0.0646), (0.0, 0.2882, -0.0875), (0.0852, 0.2625, -0.0646),
    (0.1645, 0.2336, -0.0263),
])  # fmt: skip

_FOCAL = 1.0
"""Focal length over the longer side of the frame; most cameras lie near it, and turns hardly depend on it."""

_CLOSED, _OPENED = 0.62, 0.75
"""Share of their usual opening below which the eyes of a face are closed, and above which they are open again."""
_USUAL = 0.24
"""Opening that a face is taken to have when it is first seen."""
_FORGET = 8.0
"""Seconds in which the usual opening follows what is seen, once the eyes are less open."""
_LONGEST = 0.6
"""Seconds; eyes closed for longer are no blink."""


def eye_opening(points: FloatArray) -> FloatArray:
    """(..., 2) of the left and right eye: mean height over width (the eye aspect ratio) of `MEASURED` (..., points, 2)."""
    return np.stack([_aspect(points[..., eye, :]) for eye in (_LEFT, _RIGHT)], -1)


def _aspect(eye: FloatArray) -> FloatArray:
    heights = np.linalg.norm(eye[..., [1, 2], :] - eye[..., [5, 4], :], axis=-1).mean(-1)
    return heights / np.maximum(np.linalg.norm(eye[..., 3, :] - eye[..., 0, :], axis=-1), 1e-9)


def mouth_opening(points: FloatArray, unit: FloatArray) -> FloatArray:
    """(...) mean gap between the lips; `unit` (...) is the length of 1 in pixels."""
    lip = points[..., _PLACES["inner_lip"], :]
    return np.linalg.norm(lip[..., [5, 6, 7], :] - lip[..., [3, 2, 1], :], axis=-1).mean(-1) / unit


def smile_width(points: FloatArray) -> FloatArray:
    """(...) distance of the mouth's corners over that of the eyes' outer corners."""
    corners = points[..., _PLACES["outer_lip"], :]
    width = np.linalg.norm(corners[..., 0, :] - corners[..., 1, :], axis=-1)
    return width / np.maximum(np.linalg.norm(_across(points), axis=-1), 1e-9)


def brow_raise(points: FloatArray, unit: FloatArray) -> FloatArray:
    """(..., 2) height of the left and right brow above the line through its eye's corners."""
    across = _across(points)
    length = np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    up = np.stack([across[..., 1], -across[..., 0]], -1) / length
    heights = []
    for brow, eye in (("left_brow", _LEFT), ("right_brow", _RIGHT)):
        above = points[..., _PLACES[brow], :].mean(-2) - points[..., eye[[0, 3]], :].mean(-2)
        heights.append((above * up).sum(-1) / unit)
    return np.stack(heights, -1)


def head_pose(points: FloatArray, size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """(faces, 3) yaw, pitch and roll in degrees, and (faces,) the pixels of 1, of `MEASURED` points (faces, points, 2).

    Yaw is to the picture's right, pitch down, roll clockwise on screen, by PnP of the mean face before a camera that
    looks at the middle of a frame of this size.
    """
    focal = _FOCAL * max(size)
    camera = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1.0]])
    angles, units = np.full((len(points), 3), np.nan), np.full(len(points), np.nan)
    for i, rigid in enumerate(np.ascontiguousarray(points[:, _RIGID], np.float64)):
        if not np.isfinite(rigid).all():
            continue
        found, turn, shift = cv2.solvePnP(MEAN_FACE, rigid, camera, None, flags=cv2.SOLVEPNP_SQPNP)
        if found and shift[2, 0] > 0:
            angles[i] = _angles(cv2.Rodrigues(turn)[0])
            units[i] = focal / shift[2, 0]
    return angles, units


def _angles(turn: FloatArray) -> FloatArray:
    """Yaw, pitch, roll (3,) in degrees of a rotation (3, 3) from the head's axes to the camera's."""
    yaw = np.arctan2(-turn[0, 2], turn[2, 2])
    pitch = np.arcsin(np.clip(-turn[1, 2], -1.0, 1.0))
    roll = np.arctan2(turn[1, 0], turn[1, 1])
    return np.degrees([yaw, pitch, roll])


def _across(points: FloatArray) -> FloatArray:
    """(..., 2) from the outer corner of the left eye to that of the right."""
    return points[..., _RIGHT[3], :] - points[..., _LEFT[0], :]


@dataclass(slots=True)
class _Eyes:
    """What is remembered of one face to tell its blinks."""

    time: float
    usual: float = _USUAL
    closed_since: float | None = None
    blinks: int = 0

    def look(self, opening: float, time: float) -> bool:
        """Whether the eyes are closed in a blink now."""
        passed, self.time = time - self.time, time
        if opening > self.usual:
            # Noise alone must not raise what is usual, hence not at once.
            self.usual += (opening - self.usual) * (1 - np.exp(-passed / 0.3))
        elif opening > _CLOSED * self.usual or self._long(time):
            self.usual += (opening - self.usual) * (1 - np.exp(-passed / _FORGET))
        if self.closed_since is None:
            if opening < _CLOSED * self.usual:
                self.closed_since = time
        elif opening > _OPENED * self.usual:
            self.blinks += not self._long(time)
            self.closed_since = None
        return self.closed_since is not None and not self._long(time)

    def _long(self, time: float) -> bool:
        return self.closed_since is not None and time - self.closed_since > _LONGEST


class Measurer:
    """Adds their measures to faces whose points end with `MEASURED`, and takes those points away again."""

    def __init__(self) -> None:
        self._eyes: dict[int, _Eyes] = {}

    def __call__(self, result: FrameResult) -> FrameResult:
        """The same result with `Face.measures`, its query without `MEASURED`."""
        count = len(result.query) - len(MEASURED)
        query = Query(result.query.parts[:count], result.query.positions[:count], result.query.names[:count])
        # Ids are never reused; faces that have been away for long need not be remembered.
        self._eyes = {number: eyes for number, eyes in self._eyes.items() if result.time - eyes.time < 60}
        if not result.faces:
            return replace(result, query=query)
        points = np.stack([face.points[count:] for face in result.faces])
        values = self.measure(points, result.frame.size, [face.id for face in result.faces], result.time)
        faces = tuple(
            replace(
                face,
                points=face.points[:count],
                sigma=face.sigma[:count],
                raw=face.raw[:count],
                query=query,
                measures=Measures(MEASURES, row),
            )
            for face, row in zip(result.faces, values, strict=True)
        )
        return replace(result, faces=faces, query=query)

    def measure(self, points: FloatArray, size: tuple[int, int], ids: list[int], time: float) -> FloatArray:
        """(faces, measures) of `MEASURED` points (faces, points, 2) in a frame of this size at this moment."""
        angles, unit = head_pose(points, size)
        eyes, brows = eye_opening(points), brow_raise(points, unit)
        states = [self._eyes.setdefault(number, _Eyes(time)) for number in ids]
        blink = [state.look(float(opening), time) for state, opening in zip(states, eyes.mean(-1), strict=True)]
        blinks = [state.blinks for state in states]
        mouth, smile = mouth_opening(points, unit), smile_width(points)
        return np.column_stack([eyes, blink, blinks, mouth, smile, brows, angles])
