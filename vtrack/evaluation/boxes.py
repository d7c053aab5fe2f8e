"""The face boxes that a model is given, and how to disturb them."""

from __future__ import annotations

import numpy as np

from vtrack.errors import UsageError
from vtrack.types import FloatArray


def disturbed(boxes: FloatArray, *, shift: float, shrink: float, seed: int) -> FloatArray:
    """Boxes (faces, 4) moved by `shift` of their longer side in a random direction, and made smaller by `shrink`."""
    if not 0 <= shift <= 2:
        raise UsageError(f"the shift must lie in 0..2 of the box's side, got {shift}")
    if not -2 <= shrink < 1:
        raise UsageError(f"the shrink must lie in -2..1 of the box (negative enlarges), got {shrink}")
    directions = np.random.default_rng(seed).uniform(0.0, 2 * np.pi, len(boxes))
    way = np.stack([np.cos(directions), np.sin(directions)], -1) * boxes[:, 2:].max(-1, keepdims=True) * shift
    size = boxes[:, 2:] * (1.0 - shrink)
    return np.concatenate([boxes[:, :2] + way + (boxes[:, 2:] - size) / 2, size], -1)
