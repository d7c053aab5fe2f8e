"""Necks: merge a backbone's maps into the one map that heatmaps are made from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.models.backbones.registry import FeaturePyramid

NECKS = ("concat", "pyramid")


class Concat(nn.Module):
    """All maps resized to the finest, concatenated and mixed by a 1x1 convolution, as HRNet does for faces."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.width = sum(channels)
        self.mix = nn.Sequential(
            nn.Conv2d(self.width, self.width, 1), nn.BatchNorm2d(self.width), nn.ReLU(inplace=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        size = maps[0].shape[2:]
        coarse = [functional.interpolate(x, size=size, mode="bilinear", align_corners=False) for x in maps[1:]]
        out: Tensor = self.mix(torch.cat([maps[0], *coarse], 1))
        return out


class Pyramid(nn.Module):
    """A feature pyramid's finest map."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.width = width
        self.pyramid = FeaturePyramid(channels, width, smooth_from=0)
        self.norm = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(inplace=True))

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        out: Tensor = self.norm(self.pyramid(maps)[0])
        return out


def build_neck(kind: str, channels: Sequence[int], width: int) -> Concat | Pyramid:
    """The neck of this kind; only the pyramid has a `width` to choose."""
    return Concat(channels) if kind == "concat" else Pyramid(channels, width)
