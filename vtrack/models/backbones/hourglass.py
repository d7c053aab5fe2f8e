"""Stacked hourglass networks (Newell et al.): down to a sixteenth of the finest map and up again, once or several times.

The finest map comes from the last hourglass, the coarser ones from its way up. The published networks predict heatmaps after
each hourglass; here the systems have their own heads, and only the last hourglass's maps are trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from vtrack.models.backbones.blocks import Backbone, conv_norm, start_weights

DEPTH = 4
"""How often an hourglass halves its finest map."""


class StackedHourglass(Backbone):
    """`stacks` hourglasses of `width` channels; `levels` maps, each half the size of the one before, the first at `stride`."""

    def __init__(self, stacks: int, width: int = 256, stride: int = 4, levels: int = 4) -> None:
        super().__init__()
        half = width // 2
        halvings = (stride // 4).bit_length() - 1
        self.stem = nn.Sequential(
            conv_norm(3, width // 4, size=7, stride=2),
            PreBottleneck(width // 4, half),
            nn.MaxPool2d(2),
            *(conv_norm(half, half, stride=2) for _ in range(halvings)),
            PreBottleneck(half, half),
            PreBottleneck(half, width),
        )
        self.hourglasses = nn.ModuleList(Hourglass(width) for _ in range(stacks))
        self.outs = nn.ModuleList(
            nn.Sequential(PreBottleneck(width, width), conv_norm(width, width, 1)) for _ in range(stacks)
        )
        self.merges = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))
        self.channels = (width,) * levels
        self.strides = tuple(stride << level for level in range(levels))
        start_weights(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        maps: Sequence[Tensor] = ()
        for place, (hourglass, out) in enumerate(zip(self.hourglasses, self.outs, strict=True)):
            maps = hourglass(x)
            finest = out(maps[0])
            if place < len(self.merges):
                x = x + self.merges[place](finest)
            else:
                maps = [finest, *maps[1:]]
        return list(maps[: len(self.channels)])


class Hourglass(nn.Module):
    """Maps of the way up, finest first: features of each size, with those of the next coarser one added. No map gets smaller
    than one cell.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.skips = nn.ModuleList(PreBottleneck(width, width) for _ in range(DEPTH))
        self.downs = nn.ModuleList(PreBottleneck(width, width) for _ in range(DEPTH))
        self.ups = nn.ModuleList(PreBottleneck(width, width) for _ in range(DEPTH))
        self.bottom = PreBottleneck(width, width)

    def forward(self, x: Tensor) -> list[Tensor]:
        skipped = []
        for skip, down in zip(self.skips, self.downs, strict=True):
            skipped.append(skip(x))
            x = down(functional.max_pool2d(x, 2, ceil_mode=True))
        x = self.bottom(x)
        maps = []
        for across, up in zip(reversed(skipped), reversed(cast("list[nn.Module]", list(self.ups))), strict=True):
            x = across + functional.interpolate(up(x), size=across.shape[2:], mode="nearest")
            maps.append(x)
        return maps[::-1]


class PreBottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions, half as wide inside, each after its norm and ReLU, and a shortcut."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        half = outside // 2
        self.convolutions = nn.Sequential(
            *_after_norm(inside, half, 1), *_after_norm(half, half, 3), *_after_norm(half, outside, 1)
        )
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.convolutions(x) + self.shortcut(x)
        return out


def _after_norm(inside: int, outside: int, size: int) -> tuple[nn.Module, ...]:
    """Batch norm, ReLU, and a convolution."""
    return nn.BatchNorm2d(inside), nn.ReLU(), nn.Conv2d(inside, outside, size, 1, size // 2)
