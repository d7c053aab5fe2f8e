"""A transformer encoder on the cells of a map, as in TransPose."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class EncoderLayer(nn.Module):
    """Self-attention with position codes added to queries and keys, then two linear layers."""

    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.feed_forward = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim))
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, tokens: Tensor, places: Tensor) -> Tensor:
        placed = tokens + places
        query, key, value = (
            x.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(placed), self.key(placed), self.value(tokens))
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = self.norm1(tokens + self.out(mixed.transpose(1, 2).flatten(2)))
        out: Tensor = self.norm2(tokens + self.feed_forward(tokens))
        return out


def cell_code(rows: int, columns: int, dim: int) -> Tensor:
    """(rows * columns, dim) position code of each cell: sines and cosines, half of them for y, half for x."""
    waves = torch.exp(torch.arange(dim // 4) * (-math.log(10000.0) / (dim // 4)))
    ys, xs = (torch.arange(count)[:, None] * 2 * math.pi / count * waves for count in (rows, columns))
    down, across = (torch.cat([angles.sin(), angles.cos()], 1) for angles in (ys, xs))  # (count, dim / 2)
    return torch.cat([down.repeat_interleave(columns, 0), across.repeat(rows, 1)], 1)
