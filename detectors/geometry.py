"""From the detector network's cells to faces, in plain NumPy: the same for every engine."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vtrack.types import FloatArray

STRIDES = (4, 8, 16, 32)
"""Pixels from one cell to the next, on the network's four levels."""
UNIT = 6.0
"""Size in strides of the face that a stride is made for."""
SAME_FACE = 0.45
"""Overlap from which two boxes are one face. Two people cheek to cheek stay below it, as boxes end at the jaw."""
PART_OF_FACE = 0.85
"""A box that lies in another by this much is a part of that face seen as one, or the face seen twice."""
DOUBT = 0.18
"""How fast belief in a second face falls with its overlap: to 0.8 at 0.2, to 0.5 at 0.35."""
VOTING = 0.6
"""Boxes that overlap the best one by this much have a say in where it ends."""


@lru_cache(maxsize=16)
def cells_of(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """(cells, 2) middles in pixels and (cells,) strides, in the network's order."""
    middles, strides = [], []
    for stride in STRIDES:
        y, x = np.meshgrid(np.arange(height // stride), np.arange(width // stride), indexing="ij")
        # The first cell covers pixels 0 .. stride - 1, whose middle is half a pixel short of stride / 2.
        middles.append(np.stack([x, y], -1).reshape(-1, 2) * stride + (stride - 1) / 2)
        strides.append(np.full(len(middles[-1]), stride))
    return np.concatenate(middles).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode(cells: FloatArray, middles: FloatArray, strides: FloatArray) -> FloatArray:
    """(n, 4) x0, y0, x1, y1 from some of the network's cells (7, n)."""
    centers = middles + cells[1:3].T * strides[:, None]
    half = UNIT / 2 * strides[:, None] * np.exp(np.clip(cells[3:5].T, -4, 4))
    return np.concatenate([centers - half, centers + half], 1)


def overlaps(a: FloatArray, b: FloatArray) -> FloatArray:
    """(len(a), len(b)) intersection over union of x0, y0, x1, y1 boxes."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b))
    return shared / np.maximum(area_a[:, None] + area_b[None] - shared, 1e-9)


def containments(boxes: FloatArray) -> FloatArray:
    """(n, n) share of the smaller of two x0, y0, x1, y1 boxes that lies in the other."""
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(-1)
    return np.clip(high - low, 0, None).prod(-1) / np.maximum(np.minimum(areas[:, None], areas[None]), 1e-9)


def suppress(boxes: FloatArray, scores: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Indices of one x0, y0, x1, y1 box for each face, best first, and their scores.

    Boxes that overlap a better one a little may be a second face or the first one seen askew; the more they overlap, the
    less their score is believed.
    """
    order = np.argsort(-scores, kind="stable")
    best = boxes[order]
    shared = overlaps(best, best)
    same = (shared > SAME_FACE) | (containments(best) > PART_OF_FACE)
    free = np.ones(len(order), bool)
    kept: list[int] = []
    believed = scores[order].astype(np.float64)
    for place in range(len(order)):
        if free[place]:
            believed[place] *= np.exp(-(shared[place, kept].max(initial=0.0) ** 2) / DOUBT)
            kept.append(place)
            free &= ~same[place]
    rank = np.array(kept, int)[np.argsort(-believed[kept], kind="stable")]
    return order[rank], believed[rank]


def vote(boxes: FloatArray, scores: FloatArray, rolls: FloatArray, kept: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Boxes (kept, 4) and roll vectors (kept, 2) as means over all that overlap each kept one, weighed by score."""
    weights = (overlaps(boxes[kept], boxes) > VOTING) * scores
    weights /= weights.sum(1, keepdims=True)
    return weights @ boxes, weights @ rolls
