"""From the detector network's cells to faces, in plain NumPy: the same for every engine."""

from __future__ import annotations

import numpy as np

from vtrack.types import FloatArray

SAME_FACE = 0.45
"""Overlap from which two boxes are one face. Two people cheek to cheek stay below it, as boxes end at the jaw."""
VOTING = 0.6
"""Boxes that overlap the best one by this much have a say in where it ends."""


def overlaps(a: FloatArray, b: FloatArray) -> FloatArray:
    """(len(a), len(b)) intersection over union of x0, y0, x1, y1 boxes."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b))
    return shared / np.maximum(area_a[:, None] + area_b[None] - shared, 1e-9)


def suppress(boxes: FloatArray, scores: FloatArray) -> np.ndarray:
    """Indices of one x0, y0, x1, y1 box for each face, best first."""
    order = np.argsort(-scores, kind="stable")
    same = overlaps(boxes[order], boxes[order]) > SAME_FACE
    free = np.ones(len(order), bool)
    kept = []
    for place in range(len(order)):
        if free[place]:
            kept.append(place)
            free &= ~same[place]
    return order[kept]
