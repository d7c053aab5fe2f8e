"""Whether there is a face where points say: the picture below them against the mean picture of faces."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import load_file

from vtrack.imaging.crops import Crops
from vtrack.imaging.warp import warp
from vtrack.pipelines.tables.comparison.statistics import peak_offset
from vtrack.types import FloatArray, Frame, ImageArray

PATH = Path(__file__).with_name("mean_picture.safetensors")
SIDE = 64
"""Side of the mean picture in pixels."""
_INNER = slice(8, 44), slice(12, 52)
"""Rows and columns of it that are compared: from the brows to the mouth, without the outline."""
_REACH = 8
"""Pixels to each side in which the face is searched for, 31 % of the distance between the outer corners of the eyes."""
_DETAIL = 3.0
"""Standard deviation in pixels of the blur that is subtracted: what is larger is light and shade."""


def likenesses(frame: Frame, crops: Mapping[int, Crops], aligned_side: float) -> dict[int, FloatArray]:
    """How much the faces of a frame look like faces.

    Args:
        frame: The frame.
        crops: The upright crop of each face, by its id.
        aligned_side: Side of these crops in distances between the outer corners of the eyes.

    Returns:
        For each face (3,): x and y from where its points are to where the picture is most like a face, in distances between
        the outer corners of the eyes, along the axes of the upright face, and the correlation with the mean picture there, -1
        to 1.
    """
    side = SIDE + 2 * _REACH
    larger = {number: Crops(crop.centers, crop.sides * side / SIDE, crop.angles) for number, crop in crops.items()}
    return {
        number: _likeness(warp([frame.pixels], [0], crop, side)[0, 1], aligned_side / SIDE)
        for number, crop in larger.items()
    }


def detail(picture: ImageArray) -> FloatArray:
    """(H, W) brightness without light and shade."""
    bright = picture.astype(np.float32)
    return np.asarray(bright - cv2.GaussianBlur(bright, (0, 0), _DETAIL))


def _likeness(picture: ImageArray, unit: float) -> FloatArray:
    """(3,) where in a picture, `_REACH` pixels larger than the mean one to each side, it is most like a face, and how much."""
    rows, columns = (slice(inner.start, inner.stop + 2 * _REACH) for inner in _INNER)
    scores = cv2.matchTemplate(detail(picture)[rows, columns], _mean_detail(), cv2.TM_CCOEFF_NORMED)
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    down, right = (
        at + peak_offset(line, int(at)) - _REACH
        for at, line in zip(best, (scores[:, best[1]], scores[best[0]]), strict=True)
    )
    return np.array([unit * right, unit * down, scores[best]])


@cache
def _mean_detail() -> FloatArray:
    return np.ascontiguousarray(detail(load_file(PATH)["picture"])[_INNER])
