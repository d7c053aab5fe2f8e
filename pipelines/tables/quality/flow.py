"""Optical flow: whether the points of a face move with the picture below them."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.types import Face, FloatArray, Frame, FrameResult, ImageArray

_SIDE = 160
"""Side of the crops in pixels; the outer corners of the eyes are some 60 pixels apart on them."""
_WINDOW, _LEVELS = 13, 3
"""Side of the window that is searched for, in pixels of the crop, and levels of the pyramid above the crop."""
_BACK = 0.5
"""Pixels of the crop within which the flow forth and back must end where it began, to be trusted."""
_LONGEST = 0.25
"""Seconds between two frames from which there is no flow."""


class FlowMeter:
    """Compares the motion of points with the optical flow of the picture, frame by frame.

    Both frames are cut out where their own points are, so that the flow of a face that moves with its points is small.
    """

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._faces: dict[int, tuple[Face, Crops]] = {}

    def __call__(self, result: FrameResult, crops: Mapping[int, Crops]) -> dict[int, FloatArray]:
        """How far the points of faces moved otherwise than the picture since the frame before.

        Args:
            result: The next frame with its faces.
            crops: The crop of each face that has one, by its id.

        Returns:
            For each face that both frames have, (points, 2) pixels along the axes of the upright face, from where the flow
            takes a point of the frame before to where the point is; NaN where the flow is not trusted.
        """
        before, faces = self._frame, self._faces
        self._frame = result.frame
        self._faces = {face.id: (face, crops[face.id]) for face in result.faces if face.id in crops}
        if before is None or not 0 < result.time - before.time <= _LONGEST:
            return {}
        flows = {}
        for number, (face, crop) in self._faces.items():
            if number in faces:
                earlier, earlier_crop = faces[number]
                # Green is near brightness.
                first, second = (
                    warp([frame.pixels], [0], each, _SIDE)[0, 1]
                    for frame, each in ((before, earlier_crop), (result.frame, crop))
                )
                places = (
                    each.to_pixels(points[None], _SIDE)[0]
                    for each, points in ((earlier_crop, earlier.points), (crop, face.points))
                )
                flows[number] = _disagreement(first, second, *places) * crop.sides[0] / _SIDE
        return flows


def _disagreement(before: ImageArray, after: ImageArray, first: FloatArray, second: FloatArray) -> FloatArray:
    """(points, 2) pixels from where the flow takes points (points, 2) to where they are then; NaN where it is not trusted."""
    size, known = (_WINDOW, _WINDOW), np.asarray(np.isfinite(first).all(1))
    start = np.where(known[:, None], first, 0.0).astype(np.float32)
    ends, there, _ = cv2.calcOpticalFlowPyrLK(before, after, start, None, winSize=size, maxLevel=_LEVELS)
    starts, back, _ = cv2.calcOpticalFlowPyrLK(after, before, ends, None, winSize=size, maxLevel=_LEVELS)
    returned = np.linalg.norm(starts - start, axis=1) < _BACK
    trusted = known & returned & (there.ravel() == 1) & (back.ravel() == 1)
    offset: FloatArray = np.where(trusted[:, None], second - ends, np.nan).astype(np.float64)
    return offset
