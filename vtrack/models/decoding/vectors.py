"""Gaussian vectors (Xiong et al.): a landmark as two short vectors, one along each axis, in place of a whole map.

Vectors are (B, L, 2, n): along x first, along y second. Decoding them is O(n), and they also locate landmarks outside the crop:
the Gaussian is then cut off at an end of the vector, and its height there gives the distance to its peak.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from vtrack.models.decoding.heatmaps import to_cells, to_crop

REACH = 3.0
"""In sigmas: labels are zero beyond it (equation 2)."""


def encode(points: Tensor, size: int, sigma: float = 2.0, theta: float = 3.0, *, biased: bool = True) -> Tensor:
    """Labels (B, L, 2, size) with the peak raised by `theta`: equations 1 and 2.

    The equation's exponent lacks the square that its own decoding (equation 6) and the word Gaussian ask for; it is
    squared here. Its peak lies where the distance is zero, so coordinates are rounded to cells; unbiased labels keep the
    bell where the point is and raise the nearest cell.
    """
    cells = to_cells(points, size)[..., None]  # (B, L, 2, 1)
    line = torch.arange(size, device=points.device, dtype=points.dtype)
    distance = (line - (cells.round() if biased else cells)).abs()
    bell = torch.exp(-(distance**2) / (2 * sigma**2)) * (distance < REACH * sigma)
    return bell + theta * (line == cells.round())


def band_pool(
    heatmaps: Tensor, widths: Sequence[int] = (3, 5), alpha: float = 0.5, *, count_padding: bool = False
) -> Tensor:
    """Vectors (B, L, 2, n) as means over bands that slide over the maps: equations 4 and 5.

    One width, or two of which the first has the weight `alpha`. A band at the rim reaches beyond the map. Its mean is over the
    cells that exist; with `count_padding` the missing ones count as zeros, and then the first and the last element, which
    `beyond_box` reads, can hardly be the highest.
    """
    lines = torch.stack([heatmaps.mean(-2), heatmaps.mean(-1)], 2)  # (B, L, 2, n)
    flat = lines.flatten(0, 1)
    pooled = [functional.avg_pool1d(flat, width, 1, width // 2, count_include_pad=count_padding) for width in widths]
    mixed = pooled[0] if len(pooled) == 1 else alpha * pooled[0] + (1 - alpha) * pooled[1]
    return mixed.unflatten(0, lines.shape[:2])


def profiles(heatmaps: Tensor) -> Tensor:
    """Vectors (B, L, 2, n) of ordinary heatmaps: the highest response of each column and of each row."""
    return torch.stack([heatmaps.amax(-2), heatmaps.amax(-1)], 2)


def decode(vectors: Tensor) -> Tensor:
    """Points (B, L, 2) in crop units: the highest element, moved a quarter of a cell to its higher neighbour."""
    size = vectors.shape[-1]
    place = vectors.argmax(-1, keepdim=True)  # (B, L, 2, 1)
    before = vectors.gather(-1, (place - 1).clamp(min=0))
    after = vectors.gather(-1, (place + 1).clamp(max=size - 1))
    between = (place > 0) & (place < size - 1)
    cells = place + 0.25 * torch.sign(after - before) * between
    return to_crop(cells[..., 0], size)


def beyond_box(points: Tensor, vectors: Tensor, tau: float = 2.0, sigma: float = 2.0) -> Tensor:
    """Points moved out of the crop along those axes whose vector is highest at an end: equation 7.

    `tau` is the height of the complete Gaussian: for vectors 0.5 to 0.8 of their labels' 1 + theta, for profiles of heatmaps
    about 1. A greater height means that the landmark is not outside; a height near zero gives the largest distance that the
    labels can express.
    """
    size = vectors.shape[-1]
    height, place = vectors.max(-1)  # (B, L, 2)
    share = (height / tau).clamp(torch.e ** -(REACH**2 / 2), 1.0)
    distance = sigma * (-2 * share.log()).clamp(min=0).sqrt()
    before, after = to_crop(-distance, size), to_crop(size - 1 + distance, size)
    return torch.where(place == 0, before, torch.where(place == size - 1, after, points))


def spread(vectors: Tensor, points: Tensor, sigma: float) -> Tensor:
    """(B, L) how far the response reaches about the points beyond the labels' `sigma`, in crop units."""
    size = vectors.shape[-1]
    weights = (vectors - 0.1 * vectors.amax(-1, keepdim=True)).clamp(min=0) + 1e-9
    line = torch.arange(size, device=vectors.device, dtype=vectors.dtype)
    away = (line - to_cells(points, size)[..., None]) ** 2
    wide = (weights * away).sum(-1) / weights.sum(-1)  # (B, L, 2)
    return (wide.mean(-1) - 0.3 * sigma**2).clamp(min=0.04).sqrt() / size
