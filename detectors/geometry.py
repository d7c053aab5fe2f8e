"""Geometry of face detection in plain NumPy: suppression of duplicates, the network's cells, tiles, boxes from key points.

Boxes are `x, y, w, h` in names ending in `xywh` and `x0, y0, x1, y1` (corners) everywhere else in this module.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vtrack.imaging.boxes import areas, intersections, iou
from vtrack.types import BoolArray, FloatArray

STRIDES = (4, 8, 16, 32)
"""Pixels from one cell to the next, on the network's four levels."""
UNIT = 6.0
"""Size in strides of the face that a level is made for."""
SAME_FACE = 0.45
"""IoU above which two boxes are one face. Two people cheek to cheek stay below it, since boxes end at the jaw."""
PART_OF_FACE = 0.85
"""A box that lies inside another by this share is a part of that face, or the same face detected twice."""
OVERLAP_DECAY = 0.18
"""How fast the score of a second face falls with its IoU: to 0.8 of it at 0.2, to 0.5 at 0.35."""
VOTING = 0.6
"""Boxes whose IoU with the best one is above this are averaged into it."""


def containment(boxes: FloatArray) -> FloatArray:
    """(n, n) share of the smaller of two x0, y0, x1, y1 boxes that lies inside the other."""
    smaller = np.minimum(areas(boxes)[:, None], areas(boxes)[None])
    return intersections(boxes, boxes) / np.maximum(smaller, 1e-9)


def suppress(boxes: FloatArray, scores: FloatArray) -> tuple[np.ndarray, FloatArray]:
    """Non-maximum suppression that keeps faces which overlap a little, with a lower score.

    A box that overlaps a better one a little may be a second face, or the first one located badly. So its score falls
    with the overlap.

    Args:
        boxes: (n, 4) x0, y0, x1, y1.
        scores: (n,).

    Returns:
        Indices (kept,) of one box for each face, best first, and their lowered scores (kept,).
    """
    order = np.argsort(-scores, kind="stable")
    ranked = boxes[order]
    overlap = iou(ranked, ranked)
    same = (overlap > SAME_FACE) | (containment(ranked) > PART_OF_FACE)
    free = np.ones(len(order), bool)
    kept: list[int] = []
    lowered = scores[order].astype(np.float64)
    for place in range(len(order)):
        if free[place]:
            lowered[place] *= np.exp(-(overlap[place, kept].max(initial=0.0) ** 2) / OVERLAP_DECAY)
            kept.append(place)
            free &= ~same[place]
    rank = np.array(kept, int)[np.argsort(-lowered[kept], kind="stable")]
    return order[rank], lowered[rank]


def vote(boxes: FloatArray, scores: FloatArray, rolls: FloatArray, kept: np.ndarray) -> tuple[FloatArray, FloatArray]:
    """Average each kept box with the boxes that overlap it, weighted by score (box voting).

    Args:
        boxes: (n, 4) x0, y0, x1, y1.
        scores: (n,).
        rolls: (n, 2) cosine and sine of the roll, of any length.
        kept: Indices (kept,) from `suppress`.

    Returns:
        Boxes (kept, 4) and roll vectors (kept, 2).
    """
    weights = (iou(boxes[kept], boxes) > VOTING) * scores
    weights /= weights.sum(1, keepdims=True)
    return weights @ boxes, weights @ rolls


# The network's cells


@lru_cache(maxsize=16)
def cell_grid(height: int, width: int) -> tuple[FloatArray, FloatArray]:
    """(cells, 2) centres in pixels and (cells,) strides, in the network's order."""
    centers, strides = [], []
    for stride in STRIDES:
        y, x = np.meshgrid(np.arange(height // stride), np.arange(width // stride), indexing="ij")
        # The first cell covers pixels 0 .. stride - 1, whose centre is half a pixel short of stride / 2.
        centers.append(np.stack([x, y], -1).reshape(-1, 2) * stride + (stride - 1) / 2)
        strides.append(np.full(len(centers[-1]), stride))
    return np.concatenate(centers).astype(np.float32), np.concatenate(strides).astype(np.float32)


def decode_boxes(cells: FloatArray, centers: FloatArray, strides: FloatArray) -> FloatArray:
    """(n, 4) x0, y0, x1, y1 from cells (7, n) of the network, their centres (n, 2) and strides (n,)."""
    middles = centers + cells[1:3].T * strides[:, None]
    half = UNIT / 2 * strides[:, None] * np.exp(np.clip(cells[3:5].T, -4, 4))
    return np.concatenate([middles - half, middles + half], 1)


# Tiles: windows over a large frame, in which small faces keep their full size


def tiles(width: int, height: int, side: int, overlap: int) -> np.ndarray:
    """Overlapping tiles that cover a frame.

    Args:
        width: Width of the frame in pixels.
        height: Height of the frame in pixels.
        side: Largest width and height of a tile in pixels.
        overlap: Pixels that neighbouring tiles share at least.

    Returns:
        (tiles, 4) x, y, w, h in whole pixels.
    """
    spans = []
    for length in (width, height):
        reach = min(side, length)
        count = 1 if length <= side else -(-(length - overlap) // (side - overlap))
        spans.append((np.linspace(0, length - reach, count).round().astype(int), reach))
    (xs, w), (ys, h) = spans
    return np.array([(x, y, w, h) for y in ys for x in xs])


def inside_tile(xywh: FloatArray, tile: np.ndarray, width: int, height: int) -> BoolArray:
    """Which boxes (faces, 4) x, y, w, h end inside their tile, or where the tile ends with the frame.

    A face that a tile cuts lies whole in the next tile, if it is smaller than their overlap.
    """
    x, y, w, h = tile
    inside: BoolArray = (xywh[:, 0] >= x) | (x == 0)
    inside &= (xywh[:, 1] >= y) | (y == 0)
    inside &= (xywh[:, 0] + xywh[:, 2] <= x + w) | (x + w == width)
    inside &= (xywh[:, 1] + xywh[:, 3] <= y + h) | (y + h == height)
    return inside


# Key points


def boxes_from_keypoints(points: FloatArray, mouth: list[int], weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Landmark boxes and rolls from the few key points that a detector gives.

    Detectors draw their boxes differently: some to the hairline, some to the ears. Eyes, nose and mouth mean the same
    for all, so the box is a linear function of those, in the face's own upright frame.

    Args:
        points: (faces, k, 2) key points in pixels. The first is the eye on the image's left, the second the other eye.
        mouth: Indices of the points whose mean is the middle of the mouth.
        weights: (2k + 1, 4) from upright coordinates of all points, and 1, to the box's middle and sides, in units of
            the face.

    Returns:
        Boxes (faces, 4) x, y, w, h and rolls (faces,) in radians, clockwise on screen.
    """
    left, right, lips = points[:, 0], points[:, 1], points[:, mouth].mean(1)
    across, down = right - left, lips - (left + right) / 2
    # The sum of both lines as one vector: its direction is the roll, its length a size that hardly changes with yaw.
    forward = across + np.stack([down[:, 1], -down[:, 0]], -1)
    unit = np.maximum(np.linalg.norm(forward, axis=1), 1e-6)
    cos, sin = (forward / unit[:, None]).T
    # (faces, 2, 2): rows are the face's x and y axes in the frame.
    axes = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    origin = (left + right + lips) / 3
    local = (points - origin[:, None]) @ axes.transpose(0, 2, 1) / unit[:, None, None]
    features = np.concatenate([local.reshape(len(points), 2 * points.shape[1]), np.ones((len(points), 1))], 1)
    middle, sides = np.split(features @ weights, 2, 1)
    center = origin + (middle[:, None] @ axes)[:, 0] * unit[:, None]
    # The face is taken for an ellipse: this is the upright box around it.
    width, height = sides.T * unit
    turned = np.stack([np.hypot(width * cos, height * sin), np.hypot(width * sin, height * cos)], -1)
    return np.concatenate([center - turned / 2, turned], 1), np.arctan2(sin, cos)
