"""Image encoders by name: an image in, feature maps of decreasing resolution out.

`build_backbone(name)` gives a module whose `forward` returns one map per entry of `strides`, finest first. Names of
parameters follow the published networks, so their state dicts fit (`vtrack.models.backbones.pretrained`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from vtrack.errors import ModelError
from vtrack.models.backbones.blocks import MEAN, SPREAD, Backbone, BasicBlock, Bottleneck, constant
from vtrack.models.backbones.efficientnet import EfficientNetLite
from vtrack.models.backbones.hourglass import StackedHourglass
from vtrack.models.backbones.hrnet import HRNet
from vtrack.models.backbones.resnet import ResNet
from vtrack.models.backbones.vit import ViT

Network = TypeVar("Network", bound=nn.Module)

BACKBONES: dict[str, Callable[..., Backbone]] = {
    "resnet18-half": partial(ResNet, BasicBlock, (2, 2, 2, 2), width=32),
    "resnet18-w48": partial(ResNet, BasicBlock, (2, 2, 2, 2), width=48),
    "resnet18": partial(ResNet, BasicBlock, (2, 2, 2, 2)),
    "resnet34": partial(ResNet, BasicBlock, (3, 4, 6, 3)),
    "resnet50": partial(ResNet, Bottleneck, (3, 4, 6, 3)),
    "resnet101": partial(ResNet, Bottleneck, (3, 4, 23, 3)),
    "hrnet-w18": partial(HRNet, 18),
    "hrnet-w32": partial(HRNet, 32),
    "hrnet-w48": partial(HRNet, 48),
    "hourglass": partial(StackedHourglass, 1),
    "hourglass4": partial(StackedHourglass, 4),
    "efficientnet-lite0": EfficientNetLite,
    "efficientnet-lite1": partial(EfficientNetLite, depth=1.1),
    "efficientnet-lite2": partial(EfficientNetLite, width=1.1, depth=1.2),
    "vit-b16": ViT,
    "vit-b16-clip": partial(ViT, kind="clip"),
}

STRIDES = (4, 8, 16, 32, 64)


def build_backbone(name: str, *, stride: int = 4, levels: int = 4) -> Backbone:
    """A new backbone with random weights.

    Args:
        name: Name in `BACKBONES`.
        stride: Stride of the finest map. Above 4 the image is downsampled before the first stage, which saves most of the
            work (Cheng et al.).
        levels: Number of maps, 1 to 4; fewer leave out the coarsest ones.

    Raises:
        ModelError: There is no such backbone, or it cannot have these strides.
    """
    if name not in BACKBONES:
        raise ModelError(f"no backbone {name!r}; choose from {', '.join(BACKBONES)}")
    if stride not in STRIDES or not 1 <= levels <= 4:
        raise ModelError(
            f"a backbone has 1 to 4 maps, the finest at stride {STRIDES}; not {levels} from stride {stride}"
        )
    if name.startswith("efficientnet"):
        if stride != 4:
            raise ModelError(f"{name} gives maps from stride 4 on, not {stride}; choose a ResNet or HRNet")
        return BACKBONES[name](levels=levels)
    if not name.startswith("vit"):
        return BACKBONES[name](stride=stride, levels=levels)
    if (stride, levels) != (4, 4):
        raise ModelError(f"{name} gives 4 maps from stride 4 on, nothing else; choose a ResNet or HRNet")
    return BACKBONES[name]()


class FeaturePyramid(nn.Module):
    """A feature pyramid network: brings maps to one width and adds coarse maps to finer ones."""

    def __init__(self, channels: Sequence[int], width: int, smooth_from: int = 1) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(inside, width, 1) for inside in channels)
        # Smoothing the finest map would cost as much as the whole backbone, and the next one is smoothed already.
        self.smooth = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1) if level >= smooth_from else nn.Identity()
            for level in range(len(channels))
        )

    def forward(self, maps: Sequence[Tensor], first: int = 0) -> list[Tensor]:
        """(B, width, H_i, W_i) for each map from the `first` on, finest first."""
        out: list[Tensor] = []
        above: Tensor | None = None
        steps = list(zip(maps, self.laterals, self.smooth, strict=True))[first:]
        for x, lateral, smooth in reversed(steps):
            y = lateral(x)
            if above is not None:
                y = y + nn.functional.interpolate(above, size=y.shape[2:], mode="nearest")
            above = smooth(y)
            out.append(above)
        return out[::-1]


def normalise(crops: Tensor) -> Tensor:
    """Normalise uint8 crops by ImageNet's mean and standard deviation, as most published encoders expect."""
    mean = constant(MEAN, crops.device).view(1, 3, 1, 1)
    spread = constant(SPREAD, crops.device).view(1, 3, 1, 1)
    return (crops.float() - mean) / spread


def channels_last(network: Network) -> Network:
    """The network in channels-last memory format, which the fast convolution kernels of CPUs and GPUs need."""
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
