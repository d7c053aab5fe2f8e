"""Boundary heatmaps of a face: the lines through the points of each part (Wan et al.)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vtrack.layouts import Layout
from vtrack.models.decoding import heatmaps as hm
from vtrack.parts import PARTS


class Outline(nn.Module):
    """One map for each part with several points, bright along the lines through them."""

    starts: Tensor
    ends: Tensor
    owners: Tensor

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        starts: list[int] = []
        ends: list[int] = []
        owners: list[int] = []
        self.count = 0
        for part in dict.fromkeys(layout.query.parts):
            ids = sorted(layout.query.indices(part), key=lambda i: layout.query.positions[i])
            gap = layout.query.positions[ids[0]] + 1 - layout.query.positions[ids[-1]]
            around = ids[:1] if PARTS[part].closed and gap < 0.4 else []
            line = ids + around
            if len(line) > 1:
                starts += line[:-1]
                ends += line[1:]
                owners += [self.count] * (len(line) - 1)
                self.count += 1
        for name, places in (("starts", starts), ("ends", ends), ("owners", owners)):
            self.register_buffer(name, torch.tensor(places), persistent=False)

    def forward(self, points: Tensor, size: int, sigma: float) -> Tensor:
        """(B, P, size, size) from points (B, L, 2) in crop units."""
        cells = hm.to_cells(points, size)
        start, way = cells[:, self.starts], cells[:, self.ends] - cells[:, self.starts]  # (B, S, 2)
        line = torch.arange(size, device=points.device, dtype=points.dtype)
        # The place along each segment nearest to each cell.
        dx, dy = line - start[..., 0, None], line - start[..., 1, None]  # (B, S, size)
        along = way[..., 1, None, None] * dy[..., :, None] + way[..., 0, None, None] * dx[..., None, :]
        share = (along / (way**2).sum(-1).clamp(min=1e-6)[..., None, None]).clamp(0, 1)
        square = (dy[..., :, None] - share * way[..., 1, None, None]) ** 2
        square = square + (dx[..., None, :] - share * way[..., 0, None, None]) ** 2  # (B, S, size, size)
        owners = self.owners[None, :, None, None].expand_as(square)
        nearest = torch.full((points.shape[0], self.count, size, size), float("inf"), device=points.device)
        nearest = nearest.scatter_reduce(1, owners, square, "amin")
        return torch.exp(-nearest / (2 * sigma**2))
