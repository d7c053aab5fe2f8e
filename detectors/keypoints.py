"""From a detector's few facial points to the box and roll that every detector reports.

Detectors draw their boxes by habits of their own: some to the hairline, some to the ears. Their eyes, noses and mouths
mean the same, so the landmark box is worked out from those, by a linear map in the face's own upright frame.
"""

from __future__ import annotations

import numpy as np

from vtrack.types import FloatArray


def boxes_from_points(points: FloatArray, mouth: list[int], weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Boxes (faces, 4) x, y, w, h and rolls (faces,) from points (faces, k, 2).

    The first two points are the eye on the image's left and the one on its right; the mean of points `mouth` is the
    middle of the mouth. `weights` (2k + 1, 4) give the box's middle and sides upright, in units of the face.
    """
    left, right, lips = points[:, 0], points[:, 1], points[:, mouth].mean(1)
    across, down = right - left, lips - (left + right) / 2
    # The sum of both lines as one vector: its direction is the roll, its length a size that turning the head hardly changes.
    forward = across + np.stack([down[:, 1], -down[:, 0]], -1)
    unit = np.maximum(np.linalg.norm(forward, axis=1), 1e-6)
    cos, sin = (forward / unit[:, None]).T
    # (faces, 2, 2): rows are the face's x and y axes in the frame.
    axes = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    origin = (left + right + lips) / 3
    local = (points - origin[:, None]) @ axes.transpose(0, 2, 1) / unit[:, None, None]
    middle, sides = np.split(
        np.concatenate([local.reshape(len(points), 2 * points.shape[1]), np.ones((len(points), 1))], 1) @ weights, 2, 1
    )
    center = origin + (middle[:, None] @ axes)[:, 0] * unit[:, None]
    # A face is round enough to turn like an ellipse.
    width, height = sides.T * unit
    turned = np.stack([np.hypot(width * cos, height * sin), np.hypot(width * sin, height * cos)], -1)
    return np.concatenate([center - turned / 2, turned], 1), np.arctan2(sin, cos)
