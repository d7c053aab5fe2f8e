"""What crosses the borders between the parts of vtrack: frames, detections, queries, predictions, faces, results.

Images are `uint8` RGB of shape (H, W, 3). Coordinates are pixels of the displayed frame, x right, y down, the centre
of the top-left pixel at (0, 0). Boxes are `x, y, w, h`. Time is in seconds and comes from the decoder's timestamps.
"""

from __future__ import annotations

from vtrack.types.arrays import Array, BoolArray, FloatArray, ImageArray
from vtrack.types.faces import Face, FrameResult
from vtrack.types.frames import Detections, Detector, Frame, in_seconds
from vtrack.types.predictions import LandmarkModel, Prediction, Query

__all__ = [
    "Array",
    "BoolArray",
    "Detections",
    "Detector",
    "Face",
    "FloatArray",
    "Frame",
    "FrameResult",
    "ImageArray",
    "LandmarkModel",
    "Prediction",
    "Query",
    "in_seconds",
]
