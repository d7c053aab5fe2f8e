"""True-range multilateration (Cheng et al.): distances to station anchors, read from a heatmap, give the landmark.

Station anchors are cells of the heatmap; they have nothing to do with `vtrack.anchors`.

A cell's response exp(-d^2 / (2 sigma^2)) gives its distance d to the landmark. Pairs of circles about the anchors give
linear equations, solved by least squares. Exact on perfect maps of any resolution, and not limited to the map's area.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from vtrack.models.decoding.heatmaps import to_crop, values_at

REACH = 3.0
"""In sigmas of the labels: beyond it a response cannot be distinguished from noise."""


def multilaterate(anchors: Tensor, squares: Tensor, damping: float = 1e-3) -> Tensor:
    """Places (..., 2) at squared distances (..., n) from anchors (..., n, 2), n at least 3: equations 9 to 14.

    The mean of the circles' equations is subtracted from each, where the paper subtracts the last one: the same for exact
    distances, and equal weight for all anchors otherwise. A term common to all squared distances cancels, so the peak of
    the map need not be 1.

    Anchors on a line leave the side undetermined, and anchors nearly on a line determine it badly: along a direction in
    which they spread less than about `damping` of their whole spread, the result goes to their middle.
    """
    middle = anchors.mean(-2, keepdim=True)
    rows = anchors - middle  # (..., n, 2), the matrix X
    lengths = (rows**2).sum(-1)
    right = ((lengths - squares) - (lengths - squares).mean(-1, keepdim=True)) / 2  # (..., n), the vector Y
    normal = rows.transpose(-1, -2) @ rows  # (..., 2, 2)
    wanted = (rows * right[..., None]).sum(-2)  # (..., 2)
    # (N^2 + m^2 I)^-1 N in place of N^-1: the same where N is well conditioned, and nothing where it is not.
    limit = damping * (normal[..., 0, 0] + normal[..., 1, 1]).clamp(min=1e-4)
    eye = torch.eye(2, device=anchors.device, dtype=anchors.dtype)
    damped = normal @ normal + (limit**2)[..., None, None] * eye
    pulled = (normal @ wanted[..., None])[..., 0]
    area = damped[..., 0, 0] * damped[..., 1, 1] - damped[..., 0, 1] ** 2
    x = damped[..., 1, 1] * pulled[..., 0] - damped[..., 0, 1] * pulled[..., 1]
    y = damped[..., 0, 0] * pulled[..., 1] - damped[..., 0, 1] * pulled[..., 0]
    return middle[..., 0, :] + torch.stack([x, y], -1) / area[..., None]


def sample_anchors(heatmaps: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    """Station anchors: the cells of the `kernel` x `kernel` window with the highest sum, at every map.

    Cells (B, L, kernel^2, 2) as x, y, and their responses (B, L, kernel^2).
    """
    size = heatmaps.shape[-1]
    if not 2 <= kernel <= size:
        raise ValueError(f"the window of anchors must be 2 to {size} cells wide, got {kernel}")
    sums = functional.avg_pool2d(heatmaps.detach(), kernel, 1)
    best = sums.flatten(2).argmax(-1)
    across = size - kernel + 1
    corner = torch.stack([best % across, best // across], -1)  # (B, L, 2)
    steps = torch.arange(kernel, device=heatmaps.device)
    window = torch.stack([steps.repeat(kernel), steps.repeat_interleave(kernel)], -1)
    cells = corner[..., None, :] + window
    return cells, values_at(heatmaps, cells)


def decode(heatmaps: Tensor, sigma: float, kernel: int = 2) -> Tensor:
    """Points (B, L, 2) in crop units from maps whose labels were Gaussians of `sigma` cells."""
    cells, values = sample_anchors(heatmaps, kernel)
    floor = math.exp(-(REACH**2) / 2)
    top = values.detach().amax(-1, keepdim=True).clamp(min=1e-6)
    squares = -2 * sigma**2 * (values / top).clamp(min=floor).log()
    anchors = cells.to(heatmaps.dtype)
    places = multilaterate(anchors, squares)
    middle = anchors.mean(-2)
    away = places - middle
    length = torch.linalg.vector_norm(away, dim=-1, keepdim=True).clamp(min=1e-9)
    return to_crop(middle + away * (REACH * sigma / length).clamp(max=1.0), heatmaps.shape[-1])
