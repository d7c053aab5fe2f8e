"""Boxes as arrays: corners `x0, y0, x1, y1` and `x, y, w, h`, areas, intersection over union, and how far boxes differ."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from vtrack.imaging.planes import FloatArray


def xywh_to_corners(xywh: FloatArray) -> FloatArray:
    """Convert boxes (..., 4) from x, y, w, h to x0, y0, x1, y1."""
    return np.concatenate([xywh[..., :2], xywh[..., :2] + xywh[..., 2:]], -1)


def corners_to_xywh(corners: FloatArray) -> FloatArray:
    """Convert boxes (..., 4) from x0, y0, x1, y1 to x, y, w, h."""
    return np.concatenate([corners[..., :2], corners[..., 2:] - corners[..., :2]], -1)


def areas(boxes: FloatArray) -> FloatArray:
    """(n,) areas of x0, y0, x1, y1 boxes (n, 4)."""
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)


def intersections(a: FloatArray, b: FloatArray) -> FloatArray:
    """(n, m) areas that x0, y0, x1, y1 boxes (n, 4) and (m, 4) share."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of each box of one set with each box of another.

    Args:
        a: (n, 4) boxes x0, y0, x1, y1.
        b: (m, 4) boxes x0, y0, x1, y1.

    Returns:
        (n, m) IoU, 0 to 1; 0 for boxes without an area.

    Example:
        >>> iou(np.array([[0.0, 0, 10, 10]]), np.array([[5.0, 0, 15, 10]]))
        array([[0.33333333]])
    """
    shared = intersections(a, b)
    return shared / np.maximum(areas(a)[:, None] + areas(b)[None] - shared, 1e-9)


def differences(
    boxes: FloatArray, angles: npt.ArrayLike, others: FloatArray, other_angles: npt.ArrayLike
) -> FloatArray:
    """How far boxes are from others of the same face.

    Args:
        boxes: (..., 4) x, y, w, h.
        angles: (...) their rolls in radians.
        others: (..., 4) the boxes that are compared with them.
        other_angles: (...) the rolls of these.

    Returns:
        (..., 3) the larger offset along x or y in longer sides of the boxes, the logarithm of the ratio of the longer sides,
        and the turn in radians; none is negative.
    """
    sides, other_sides = boxes[..., 2:].max(-1), others[..., 2:].max(-1)
    shift = np.abs(boxes[..., :2] + boxes[..., 2:] / 2 - others[..., :2] - others[..., 2:] / 2).max(-1) / sides
    log_scale = np.abs(np.log(np.maximum(other_sides, 1e-6) / sides))
    turn = np.abs(np.remainder(np.subtract(other_angles, angles) + np.pi, 2 * np.pi) - np.pi)
    return np.stack([shift, log_scale, turn], -1)
