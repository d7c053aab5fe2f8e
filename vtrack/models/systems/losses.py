"""What training minimises."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from vtrack.models.systems.output import Output
from vtrack.types import Query

WING_WIDTH, WING_CURVE = 10.0, 2.0
"""Wing loss, in pixels of a 256-pixel crop: beyond the width it is linear, within it logarithmic."""


def wing(errors: Tensor) -> Tensor:
    """Wing loss of coordinate errors in crop units, element by element."""
    size = errors.abs() * 256.0
    offset = WING_WIDTH - WING_WIDTH * math.log1p(WING_WIDTH / WING_CURVE)
    return torch.where(size < WING_WIDTH, WING_WIDTH * torch.log1p(size / WING_CURVE), size - offset)


def spread_loss(errors: Tensor, log_sigma: Tensor) -> Tensor:
    """Negative log likelihood of a Laplace distribution; (B, L) from errors (B, L, 2).

    The points are held fixed: the spread learns how wrong they are, it does not excuse them.
    """
    size = errors.detach().abs().sum(-1)
    return 2 * log_sigma + size * torch.exp(-log_sigma)


def place_loss(likeness: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Cross entropy of the start's softmax over a map, likeness (B, L, H, W), to where the points (B, L, 2) are.

    A point is shared among the four nearest cells so that their mean is the point: the softmax that is best here has the
    best expectation too. Coordinates alone say little to a network that has learned nothing yet: with this it needs
    a third fewer faces at first. Points on the rim and beyond, which no mean of cells can reach, do not count.
    """
    height, width = likeness.shape[2:]
    cells = targets * targets.new_tensor([width, height]) - 0.5
    inside = known & (cells > 0).all(-1) & (cells[..., 0] < width - 1) & (cells[..., 1] < height - 1)  # (B, L)
    cells = torch.where(inside[..., None], cells, torch.zeros_like(cells))
    corner = cells.floor()
    (x, y), (right, below) = corner.long().unbind(-1), (cells - corner).unbind(-1)
    places = torch.stack([y * width + x, y * width + x + 1, (y + 1) * width + x, (y + 1) * width + x + 1], -1)
    left, above = 1 - right, 1 - below
    shares = torch.stack([above * left, above * right, below * left, below * right], -1)  # (B, L, 4)
    surprise = -(likeness.flatten(2).log_softmax(-1).gather(-1, places) * shares).sum(-1)
    return (surprise * inside).sum() / inside.sum().clamp(min=1)


def landmark_loss(output: Output, points: Tensor, is_face: Tensor, trust: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch: Wing on every layer, the spread of the last, presence. `is_face` (B,) bool masks the points.

    `points` (B, L, 2) may hold NaN where a data set has no label. `trust` weighs the labels of one data set.
    """
    known = torch.isfinite(points).all(-1) & is_face[:, None]  # (B, L)
    target = torch.where(known[..., None], points, torch.zeros_like(points))
    count = known.sum().clamp(min=1)
    regression = torch.zeros((), device=points.device)
    for predicted in output.points:
        regression = regression + (wing(predicted - target).sum(-1) * known).sum() / count
    spread = (spread_loss(output.points[-1] - target, output.log_sigma) * known).sum() / count
    presence = functional.binary_cross_entropy_with_logits(output.presence, is_face.float())
    total = trust * (0.1 * regression + 0.05 * spread) + 0.3 * presence
    told = {"wing": regression / len(output.points), "spread": spread, "presence": presence}
    return total, {name: value.detach() for name, value in told.items()}


OPENING_PARTS = (
    *("left_eye", "right_eye", "outer_lip", "inner_lip"),
    *("left_mesh_eye", "right_mesh_eye", "mesh_outer_lip", "mesh_inner_lip"),
)
"""Parts that open: closed curves from corner (0) to corner (1/2) and back, where position p faces 1 - p."""

_SHUT = 0.01
"""A distance in crop units below which what faces each other counts as shut: a thirtieth of an eye's width."""
_MORE = 2.0
"""How much more a shut one weighs than an open one."""


def facing(query: Query) -> npt.NDArray[np.intp]:
    """(pairs, 2) places of points that face each other, upper lid or lip first."""
    place = {
        (part, round(position, 4)): i
        for i, (part, position) in enumerate(zip(query.parts, query.positions, strict=True))
    }
    pairs = [
        (i, place[part, round(1 - position, 4)])
        for (part, position), i in place.items()
        if part in OPENING_PARTS and 0 < position < 0.5 and (part, round(1 - position, 4)) in place
    ]
    return np.array(pairs, np.intp).reshape(-1, 2)


def gap_loss(points: Tensor, targets: Tensor, known: Tensor, pairs: Tensor) -> Tensor:
    """Wing loss of the way from each point to the one that faces it, points (B, L, 2), pairs (P, 2); more where that is short.

    The loss of points alone is content with lids that are both wrong by a little: to an eye that is shut that is a slit.
    """
    if not len(pairs):
        return points.sum() * 0.0
    upper, lower = pairs.unbind(-1)
    gap, true = points[:, lower] - points[:, upper], targets[:, lower] - targets[:, upper]
    both = known[:, upper] & known[:, lower]  # (B, P)
    weight = 1.0 + _MORE * torch.exp(-((true.norm(dim=-1) / _SHUT) ** 2))
    return (wing(gap - true).sum(-1) * weight * both).sum() / both.sum().clamp(min=1)
