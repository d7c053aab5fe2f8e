"""Head pose: yaw, pitch and roll of faces from their points, by PnP of a mean face."""

from __future__ import annotations

import cv2
import numpy as np

from vtrack.pipelines.measures.shapes import INDICES, LEFT_EYE, RIGHT_EYE
from vtrack.types import FloatArray

RIGID = np.concatenate([LEFT_EYE[[0, 3]], RIGHT_EYE[[0, 3]], INDICES["nose_bridge"], INDICES["nose_base"]])
"""Indices of the points that expressions hardly move: corners of the eyes, bridge and base of the nose."""

# Mean positions of these points in space: x right, y down, z away from the viewer, outer corners of the eyes 1 apart.
# Fitted by alternating least squares (rotation and scale of each face, then the mean face) to the 1790 training faces of
# `w68`, whose median face looks straight ahead, and made symmetric. A test repeats the fit.
MEAN_FACE = np.array([
    (-0.5, -0.2616, 0.2465), (-0.2152, -0.2424, 0.1811), (0.2152, -0.2424, 0.1811), (0.5, -0.2616, 0.2465),
    (0.0, -0.2782, -0.0273), (0.0, -0.1383, -0.1028), (0.0, 0.0007, -0.1871), (0.0, 0.1435, -0.2687),
    (-0.1645, 0.2336, -0.0263), (-0.0852, 0.2625, -0.0646), (0.0, 0.2882, -0.0875), (0.0852, 0.2625, -0.0646),
    (0.1645, 0.2336, -0.0263),
])  # fmt: skip

_FOCAL = 1.0
"""Focal length over the longer side of the frame: most cameras are near it, and the angles hardly depend on it."""


def head_pose(points: FloatArray, size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Estimate the pose of heads, by PnP of the mean face for a camera centered on the frame.

    Args:
        points: (faces, points, 2) the points of `MEASURE_QUERY` in pixels; NaN for missing ones.
        size: Width and height of the frame in pixels.

    Returns:
        (faces, 3) yaw (to the right of the image), pitch (down) and roll (clockwise on screen) in degrees, and (faces,)
        the distance between the outer corners of the eyes in pixels, seen from the front. NaN where there is no pose.
    """
    focal = _FOCAL * max(size)
    camera = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1.0]])
    angles, units = np.full((len(points), 3), np.nan), np.full(len(points), np.nan)
    for i, rigid in enumerate(np.ascontiguousarray(points[:, RIGID], np.float64)):
        if not np.isfinite(rigid).all():
            continue
        solved, rotation, translation = cv2.solvePnP(MEAN_FACE, rigid, camera, None, flags=cv2.SOLVEPNP_SQPNP)
        if solved and translation[2, 0] > 0:
            angles[i] = _angles(cv2.Rodrigues(rotation)[0])
            units[i] = focal / translation[2, 0]
    return angles, units


def _angles(rotation: FloatArray) -> FloatArray:
    """Return yaw, pitch, roll (3,) in degrees of a rotation (3, 3) from the head's axes to the camera's."""
    yaw = np.arctan2(-rotation[0, 2], rotation[2, 2])
    pitch = np.arcsin(np.clip(-rotation[1, 2], -1.0, 1.0))
    roll = np.arctan2(rotation[1, 0], rotation[1, 1])
    return np.degrees([yaw, pitch, roll])
