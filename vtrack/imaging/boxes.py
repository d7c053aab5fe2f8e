"""Boxes as arrays: conversions between `x, y, w, h` and corners `x0, y0, x1, y1`, areas, intersection over union."""

from __future__ import annotations

import numpy as np

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
