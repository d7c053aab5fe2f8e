"""Heatmaps: one small map per landmark, bright where it lies. Encoding of labels and decoding of points.

Maps are (B, L, n, n). Cell i has its centre at i in cells and at (i + 0.5) / n in crop units; points are (B, L, 2) x, y in
crop units and may lie outside.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vtrack.models.backbones.blocks import constant


def encode(points: Tensor, size: int, sigma: float, *, biased: bool = False) -> Tensor:
    """Gaussian labels (B, L, size, size) with peak 1 and `sigma` in cells: Cheng et al., equation 3.

    Biased labels have their peak on a cell's centre (equation 4), unbiased ones where the point is (equation 2).
    """
    cells = to_cells(points, size)
    if biased:
        cells = cells.round()
    line = torch.arange(size, device=points.device, dtype=points.dtype)
    bells = torch.exp(-((line - cells[..., None]) ** 2) / (2 * sigma**2))  # (B, L, 2, size)
    return bells[..., 1, :, None] * bells[..., 0, None, :]


def to_cells(points: Tensor, size: int) -> Tensor:
    """Crop units to cells of a map."""
    return points * size - 0.5


def to_crop(cells: Tensor, size: int) -> Tensor:
    """Cells of a map to crop units."""
    return (cells + 0.5) / size


def peaks(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (B, L, 2) as x, y, and values (B, L), of the highest responses."""
    values, places = heatmaps.flatten(2).max(-1)
    width = heatmaps.shape[-1]
    return torch.stack([places % width, places // width], -1), values


def values_at(heatmaps: Tensor, cells: Tensor) -> Tensor:
    """(B, L, k) responses at cells (B, L, k, 2) given as x, y."""
    return heatmaps.flatten(2).gather(2, cells[..., 1] * heatmaps.shape[-1] + cells[..., 0])


def one_hot(heatmaps: Tensor) -> Tensor:
    """The centre of the brightest cell: Cheng et al., equation 5."""
    return to_crop(peaks(heatmaps)[0].to(heatmaps.dtype), heatmaps.shape[-1])


def two_hot(heatmaps: Tensor) -> Tensor:
    """A quarter of a cell from the brightest cell to the brighter neighbour: Cheng et al., equation 6, along each axis.

    The equation names one second-brightest cell. Only a step along each axis gives the errors of the paper's table 1.
    A cell on the rim is left alone along the axis on which it has but one neighbour.
    """
    cells, _ = peaks(heatmaps)
    neighbours = _cross(heatmaps, cells)  # (B, L, 2, 3)
    step = 0.25 * torch.sign(neighbours[..., 2] - neighbours[..., 0])
    return to_crop(cells + step * _inside(cells, heatmaps.shape[-1]), heatmaps.shape[-1])


def distribution_aware(heatmaps: Tensor, blur: float = 2.0) -> Tensor:
    """The top of the Gaussian that has the map's derivatives at its brightest cell: Cheng et al., equation 8.

    The map is smoothed by a Gaussian of `blur` cells first, since derivatives of a network's maps are noisy. Smoothing
    spoils the rim, so a cell less than two from it is left alone, as the method's authors do.
    """
    smooth = _blurred(heatmaps, blur) if blur else heatmaps
    logs = smooth.clamp(min=1e-10).log()
    cells, _ = peaks(heatmaps)
    size = heatmaps.shape[-1]
    lines = _cross(logs, cells)
    slope = (lines[..., 2] - lines[..., 0]) / 2  # (B, L, 2)
    bend = lines[..., 2] - 2 * lines[..., 1] + lines[..., 0]
    around = constant([[1, 1], [-1, -1], [1, -1], [-1, 1]], cells.device)
    corners = values_at(logs, (cells[..., None, :] + around).clamp(0, size - 1))
    twist = (corners[..., 0] + corners[..., 1] - corners[..., 2] - corners[..., 3]) / 4
    inside = _inside(cells, size, rim=2).all(-1)
    # The step to the peak is -H^-1 g, written out for the 2 x 2 matrix of second derivatives.
    area = bend.prod(-1) - twist**2
    step = torch.stack(
        [bend[..., 1] * slope[..., 0] - twist * slope[..., 1], bend[..., 0] * slope[..., 1] - twist * slope[..., 0]], -1
    )
    usable = inside & (area > 1e-12) & (bend < 0).all(-1)
    step = torch.where(usable[..., None], -step / area.clamp(min=1e-12)[..., None], 0.0)
    return to_crop(cells + step.clamp(-1.5, 1.5), size)


def spread(heatmaps: Tensor, points: Tensor, sigma: float) -> Tensor:
    """(B, L) standard deviation of the response about the points, in crop units, less that of the labels, `sigma` in cells.

    A network that is uncertain about a landmark gives the mean of the possible labels, which is wider than one label by
    that uncertainty.
    """
    size = heatmaps.shape[-1]
    # Subtract a tenth of the peak, so that the faint background of large maps does not count.
    weights = (heatmaps - 0.1 * heatmaps.amax((-2, -1), keepdim=True)).clamp(min=0) + 1e-9
    line = torch.arange(size, device=heatmaps.device, dtype=heatmaps.dtype)
    away = (line - to_cells(points, size)[..., None]) ** 2  # (B, L, 2, size)
    total = weights.sum((-2, -1))
    wide = (weights.sum(-2) * away[..., 0, :]).sum(-1) / total
    high = (weights.sum(-1) * away[..., 1, :]).sum(-1) / total
    return ((wide + high) / 2 - 0.7 * sigma**2).clamp(min=0.04).sqrt() / size


def _cross(maps: Tensor, cells: Tensor) -> Tensor:
    """(B, L, 2, 3) values before, at and after the cells along x and along y; the rim's own value beyond it."""
    ways = constant([[[-1, 0], [0, 0], [1, 0]], [[0, -1], [0, 0], [0, 1]]], cells.device)
    around = (cells[..., None, None, :] + ways).clamp(0, maps.shape[-1] - 1)  # (B, L, 2, 3, 2)
    return values_at(maps, around.flatten(2, 3)).unflatten(2, (2, 3))


def _inside(cells: Tensor, size: int, rim: int = 1) -> Tensor:
    """(B, L, 2) whether there are `rim` cells on both sides along each axis."""
    return (cells >= rim) & (cells < size - rim)


def _blurred(heatmaps: Tensor, sigma: float) -> Tensor:
    """Maps smoothed by a Gaussian."""
    reach = max(round(2.5 * sigma), 1)
    line = torch.arange(-reach, reach + 1, device=heatmaps.device, dtype=heatmaps.dtype)
    bell = torch.exp(-(line**2) / (2 * sigma**2))
    bell = bell / bell.sum()
    flat = heatmaps.flatten(0, 1)[:, None]
    flat = functional.conv2d(flat, bell[None, None, None], padding=(0, reach))
    flat = functional.conv2d(flat, bell[None, None, :, None], padding=(reach, 0))
    return flat[:, 0].unflatten(0, heatmaps.shape[:2])
