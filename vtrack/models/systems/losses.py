"""Losses that several systems share."""

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
"""Wing loss, in pixels of a 256-pixel crop: logarithmic up to the width, linear beyond."""


def wing(errors: Tensor) -> Tensor:
    """Wing loss of coordinate errors in crop units, element by element."""
    size = errors.abs() * 256.0
    offset = WING_WIDTH - WING_WIDTH * math.log1p(WING_WIDTH / WING_CURVE)
    return torch.where(size < WING_WIDTH, WING_WIDTH * torch.log1p(size / WING_CURVE), size - offset)


def spread_loss(errors: Tensor, log_sigma: Tensor) -> Tensor:
    """Negative log likelihood of a Laplace distribution; (B, L) from errors (B, L, 2).

    Gradients reach the spread only: it learns how large the errors are, and cannot make the points worse.
    """
    size = errors.detach().abs().sum(-1)
    return 2 * log_sigma + size * torch.exp(-log_sigma)


def place_loss(logits: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Cross entropy between the softmax over a map, logits (B, L, H, W), and the cells of the points (B, L, 2).

    A point is shared among the four nearest cells so that their weighted mean is the point: then the best softmax also has
    the best expectation. A loss on coordinates alone teaches an untrained network little: with this term it needs a
    third fewer faces at first. Points on the rim and beyond, which no mean of cells can reach, do not count.
    """
    height, width = logits.shape[2:]
    cells = targets * targets.new_tensor([width, height]) - 0.5
    inside = known & (cells > 0).all(-1) & (cells[..., 0] < width - 1) & (cells[..., 1] < height - 1)  # (B, L)
    cells = torch.where(inside[..., None], cells, torch.zeros_like(cells))
    corner = cells.floor()
    (x, y), (right, below) = corner.long().unbind(-1), (cells - corner).unbind(-1)
    places = torch.stack([y * width + x, y * width + x + 1, (y + 1) * width + x, (y + 1) * width + x + 1], -1)
    left, above = 1 - right, 1 - below
    shares = torch.stack([above * left, above * right, below * left, below * right], -1)  # (B, L, 4)
    entropy = -(logits.flatten(2).log_softmax(-1).gather(-1, places) * shares).sum(-1)
    return (entropy * inside).sum() / inside.sum().clamp(min=1)


def landmark_loss(output: Output, points: Tensor, is_face: Tensor, trust: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a batch: Wing loss of every layer's points, spread of the last layer, presence.

    Args:
        output: What the network gave.
        points: (B, L, 2) labels in crop units; NaN where a data set has none.
        is_face: (B,) bool; crops without a face have no points.
        trust: Weight of these labels.

    Returns:
        The loss, and its terms by name, detached.
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
    terms = {"wing": regression / len(output.points), "spread": spread, "presence": presence}
    return total, {name: value.detach() for name, value in terms.items()}


def hidden_loss(logits: Tensor, hidden: Tensor) -> Tensor:
    """Binary cross entropy of logits (B, L) that points are hidden; `hidden` is 1, 0, or NaN where that is unknown."""
    known = torch.isfinite(hidden)
    entropy = functional.binary_cross_entropy_with_logits(logits, hidden.nan_to_num(), reduction="none")
    return (entropy * known).sum() / known.sum().clamp(min=1)


OPENING_PARTS = (
    *("left_eye", "right_eye", "outer_lip", "inner_lip"),
    *("left_mesh_eye", "right_mesh_eye", "mesh_outer_lip", "mesh_inner_lip"),
)
"""Parts that open and shut: closed curves from corner (0) to corner (1/2) and back; position p is opposite 1 - p."""

_SHUT = 0.01
"""Distance of opposite points, in crop units, below which an eye or mouth counts as shut: a thirtieth of an eye's width."""
_SHUT_WEIGHT = 2.0
"""Additional weight of a shut pair."""


def facing(query: Query) -> npt.NDArray[np.intp]:
    """(pairs, 2) indices of points opposite each other, upper lid or lip first."""
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
    """Wing loss of the vector between opposite points, with more weight if it is short; points (B, L, 2), pairs (P, 2).

    Small errors of both lids hardly count in the loss of the points, but they open a shut eye.
    """
    if not len(pairs):
        return points.sum() * 0.0
    upper, lower = pairs.unbind(-1)
    gap, true = points[:, lower] - points[:, upper], targets[:, lower] - targets[:, upper]
    both = known[:, upper] & known[:, lower]  # (B, P)
    weight = 1.0 + _SHUT_WEIGHT * torch.exp(-((true.norm(dim=-1) / _SHUT) ** 2))
    return (wing(gap - true).sum(-1) * weight * both).sum() / both.sum().clamp(min=1)
