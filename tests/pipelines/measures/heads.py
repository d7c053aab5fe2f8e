"""Heads whose turn is known, seen by a camera."""

from __future__ import annotations

import numpy as np

from vtrack.pipelines.measures.face_fit import face_model
from vtrack.types import FloatArray

SIZE = (640, 480)
UNIT = 640 / 11
"""Pixels between the outer corners of the eyes, seen from the front."""


def rotation(yaw: float, pitch: float, roll: float) -> FloatArray:
    """(3, 3) from the head's axes to the camera's; degrees."""
    y, p, r = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    return about_y @ about_x @ about_z


def turned(
    yaw: float,
    pitch: float,
    roll: float,
    middle: tuple[float, float] = (320, 240),
    shape: FloatArray | None = None,
    distance: float = 11.0,
) -> FloatArray:
    """(1, points of `MEASURE_QUERY`, 2) a head in a frame of `SIZE`.

    Args:
        yaw: To the right of the image, in degrees.
        pitch: Down.
        roll: Clockwise on screen.
        middle: Pixel at the middle between the eyes.
        shape: (points, 3) face in space; None for the mean face.
        distance: From the camera, in units; `UNIT` is the same at any.
    """
    focal = UNIT * distance
    offset = (np.array(middle) - (319.5, 239.5)) / UNIT
    space = (face_model().mean if shape is None else shape) @ rotation(yaw, pitch, roll).T + (*offset, distance)
    return np.asarray(space[:, :2] / space[:, 2:] * focal + (319.5, 239.5))[None]
