"""Image encoders: a picture in, feature maps of falling resolution out.

`build_backbone(name)` gives a module whose `forward` returns one map per entry of `strides`, finest first. Names of
parameters follow the published ResNets, so their state dicts fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from vtrack.errors import ModelError


class Backbone(nn.Module):
    """What every encoder is."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inside, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut."""

    expansion = 4

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        outside = width * self.expansion
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inside, outside, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(inside: int, outside: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inside == outside:
        return None
    return nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside))


class ResNet(Backbone):
    """A ResNet without its classifier; maps at strides 4, 8, 16, 32."""

    strides = (4, 8, 16, 32)

    def __init__(self, block: type[BasicBlock | Bottleneck], depths: Sequence[int], width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inside = width
        self.channels: tuple[int, ...] = ()
        for level, depth in enumerate(depths):
            blocks = []
            for place in range(depth):
                stride = 2 if level > 0 and place == 0 else 1
                blocks.append(block(inside, width << level, stride))
                inside = (width << level) * block.expansion
            setattr(self, f"layer{level + 1}", nn.Sequential(*blocks))
            self.channels += (inside,)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for level in range(len(self.channels)):
            x = getattr(self, f"layer{level + 1}")(x)
            maps.append(x)
        return maps


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet18-half": lambda: ResNet(BasicBlock, (2, 2, 2, 2), width=32),
    "resnet18": lambda: ResNet(BasicBlock, (2, 2, 2, 2)),
    "resnet34": lambda: ResNet(BasicBlock, (3, 4, 6, 3)),
    "resnet50": lambda: ResNet(Bottleneck, (3, 4, 6, 3)),
    "resnet101": lambda: ResNet(Bottleneck, (3, 4, 23, 3)),
}


def build_backbone(name: str) -> Backbone:
    """A fresh backbone with `channels` and `strides`."""
    if name not in BACKBONES:
        raise ModelError(f"no backbone {name!r}; choose from {', '.join(BACKBONES)}")
    return BACKBONES[name]()


class FeaturePyramid(nn.Module):
    """Brings maps of several strides to one width and passes what the coarse ones know down to the fine ones."""

    def __init__(self, channels: Sequence[int], width: int, smooth_from: int = 1) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(inside, width, 1) for inside in channels)
        # Smoothing the finest map would cost as much as the whole backbone and its neighbour is smooth already.
        self.smooth = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) if level >= smooth_from else nn.Identity()
            for level in range(len(channels))
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(B, width, H_i, W_i) for each map, finest first."""
        out: list[Tensor] = []
        above: Tensor | None = None
        for x, lateral, smooth in zip(reversed(maps), reversed(self.laterals), reversed(self.smooth), strict=True):
            y = lateral(x)
            if above is not None:
                y = y + nn.functional.interpolate(above, scale_factor=2.0, mode="nearest")
            above = smooth(y)
            out.append(above)
        return out[::-1]


def normalise(crops: Tensor) -> Tensor:
    """uint8 crops to floats about zero, with the mean and spread of the photographs most published encoders saw."""
    mean = torch.tensor((123.675, 116.28, 103.53), device=crops.device).view(1, 3, 1, 1)
    spread = torch.tensor((58.395, 57.12, 57.375), device=crops.device).view(1, 3, 1, 1)
    return (crops.float() - mean) / spread


def channels_last(network: nn.Module) -> nn.Module:
    """The network with its convolutions laid out as the fast kernels of CPUs and GPUs want them."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
