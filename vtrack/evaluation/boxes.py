"""Disturbs the face boxes that a model is given, to measure its robustness."""

from __future__ import annotations

import numpy as np

from vtrack.errors import UsageError
from vtrack.types import FloatArray


def disturbed(boxes: FloatArray, *, shift: float, shrink: float, seed: int) -> FloatArray:
    """Shift and shrink boxes.

    Args:
        boxes: (faces, 4) x, y, w, h.
        shift: Distance of the shift in a random direction, 0 to 2 times the longer side.
        shrink: Share of the size that is taken off, -2 to below 1; negative enlarges.
        seed: Seed of the random directions.

    Returns:
        (faces, 4) x, y, w, h.
    """
    if not 0 <= shift <= 2:
        raise UsageError(f"--shift must lie in 0..2 (times the box's longer side), got {shift}")
    if not -2 <= shrink < 1:
        raise UsageError(f"the shrink must lie in -2..1 of the box (negative enlarges), got {shrink}")
    directions = np.random.default_rng(seed).uniform(0.0, 2 * np.pi, len(boxes))
    way = np.stack([np.cos(directions), np.sin(directions)], -1) * boxes[:, 2:].max(-1, keepdims=True) * shift
    size = boxes[:, 2:] * (1.0 - shrink)
    return np.concatenate([boxes[:, :2] + way + (boxes[:, 2:] - size) / 2, size], -1)
