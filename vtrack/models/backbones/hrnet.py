"""HRNets: parallel branches of several resolutions that exchange features after every few blocks.

The finest branch is kept to the end, which suits heatmap models. Parameters are named as in the published
networks (the authors' and timm's), so their weights fit. `stride` is that of the finest branch: 4 as published, up to
64 by the early downsampling of Cheng et al., table 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from vtrack.models.backbones.blocks import Backbone, BasicBlock, Bottleneck, conv_norm, start_weights

STEM_STRIDES: dict[int, tuple[int, ...]] = {4: (2, 2), 8: (4, 2), 16: (4, 4), 32: (4, 4, 2), 64: (4, 4, 2, 2)}
"""Strides of the first 3x3 convolutions for each stride of the finest branch."""

MODULES = (1, 4, 3)
"""Exchanges in stages 2, 3 and 4, which have 2, 3 and 4 branches."""


class HRNet(Backbone):
    """Maps of all branches, finest first; `width` channels on the finest and twice as many on each next."""

    own = ("conv3.", "bn3.", "conv4.", "bn4.")

    def __init__(self, width: int, stride: int = 4, levels: int = 4, blocks: int = 4) -> None:
        super().__init__()
        self.stem = len(STEM_STRIDES[stride])
        for place, step in enumerate(STEM_STRIDES[stride], 1):
            setattr(self, f"conv{place}", nn.Conv2d(3 if place == 1 else 64, 64, 3, step, 1, bias=False))
            setattr(self, f"bn{place}", nn.BatchNorm2d(64))
        self.layer1 = nn.Sequential(*(Bottleneck(64 if place == 0 else 256, 64, 1) for place in range(blocks)))
        inside: tuple[int, ...] = (256,)
        for level in range(1, levels):
            widths = tuple(width << branch for branch in range(level + 1))
            setattr(self, f"transition{level}", _transition(inside, widths))
            exchanges = (Exchange(widths, blocks) for _ in range(MODULES[level - 1]))
            setattr(self, f"stage{level + 1}", nn.Sequential(*exchanges))
            inside = widths
        self.channels = inside
        self.strides = tuple(stride << branch for branch in range(len(inside)))
        start_weights(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        for place in range(1, self.stem + 1):
            x = functional.relu(getattr(self, f"bn{place}")(getattr(self, f"conv{place}")(x)))
        maps = [self.layer1(x)]
        for level in range(1, len(self.channels)):
            changes = getattr(self, f"transition{level}")
            # A new branch starts from the coarsest one so far.
            maps = [change(maps[min(branch, len(maps) - 1)]) for branch, change in enumerate(changes)]
            maps = getattr(self, f"stage{level + 1}")(maps)
        return maps


def _transition(inside: Sequence[int], outside: Sequence[int]) -> nn.ModuleList:
    """From the channels of one stage to those of the next, with one more branch at half the size."""
    changes: list[nn.Module] = []
    for branch, width in enumerate(outside):
        if branch >= len(inside):
            changes.append(nn.Sequential(conv_norm(inside[-1], width, stride=2)))
        elif inside[branch] != width:
            changes.append(conv_norm(inside[branch], width))
        else:
            changes.append(nn.Identity())
    return nn.ModuleList(changes)


class Exchange(nn.Module):
    """Some blocks on every branch, then every branch becomes the sum of all branches, resized to its resolution."""

    def __init__(self, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width, width, 1) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_fuse(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        mixed = []
        for target, layers in enumerate(self.fuse_layers):
            size, total = maps[target].shape[2:], maps[target]
            for source, (layer, x) in enumerate(zip(cast(nn.ModuleList, layers), maps, strict=True)):
                if source < target:
                    total = total + layer(x)
                elif source > target:
                    # By size, not by factor: behind a long stem the coarsest branches are all one cell large.
                    total = total + functional.interpolate(layer(x), size=size, mode="nearest")
            mixed.append(functional.relu(total))
        return mixed


def _fuse(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """From one branch's channels and size to another's; coarser maps are enlarged afterwards."""
    if source == target:
        return nn.Identity()
    if source > target:
        return conv_norm(widths[source], widths[target], size=1, relu=False)
    steps = range(source, target)
    return nn.Sequential(
        *(
            conv_norm(
                widths[source], widths[target if step == target - 1 else source], stride=2, relu=step < target - 1
            )
            for step in steps
        )
    )
