"""The native detector's network: a small, anchor-free convolutional feature pyramid.

Each cell of the strides 4, 8, 16 and 32 gives a score, a box relative to its own centre, and the face's roll as a vector.
All strides share one head, so what is learned about faces of one size holds for every size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vtrack.detectors.config import DetectorConfig
from vtrack.detectors.geometry import STRIDES
from vtrack.errors import ModelError
from vtrack.models.card import Card
from vtrack.models.checksums import check_file

CHANNELS = 7
"""Of a cell: score; centre x, y in strides from its middle; log width, height over `UNIT` strides; roll's cosine, sine."""


def _conv(inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, with a residual connection where the shape stays the same."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.space = _conv(inputs, inputs, 3, stride, inputs)
        self.mix = _conv(inputs, outputs)
        self.keeps = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.space(x))
        return x + y if self.keeps else y


class Head(nn.Module):
    """Two separable convolutions and the output. All levels share the weights, but each has its own batch norms.

    Their statistics differ from level to level; one running average for all would fit none of them.
    """

    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()
        self.spaces = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1, groups=width, bias=False) for _ in range(depth))
        self.mixes = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in range(depth))
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2 * depth)) for _ in STRIDES)
        self.answer = nn.Conv2d(width, CHANNELS, 1)
        nn.init.normal_(self.answer.weight, std=0.01)
        assert self.answer.bias is not None
        # Few cells hold a face: start with a score of 1 % and an upright face.
        self.answer.bias.data = torch.tensor([-math.log(99.0), 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])

    def forward(self, x: Tensor, level: int) -> Tensor:
        norms = iter(self.norms[level].children())
        for space, mix in zip(self.spaces, self.mixes, strict=True):
            y = next(norms)(space(x)).relu()
            x = x + next(norms)(mix(y)).relu()
        answer: Tensor = self.answer(x)
        return answer


class FaceNet(nn.Module):
    """The detector's network.

    Takes RGB images (B, 3, H, W), 0 to 255, sides multiples of 32. Gives (B, 7, cells): the cells of every stride, row by
    row, see `CHANNELS`.
    """

    def __init__(
        self, widths: Sequence[int] = (16, 32, 64, 160, 256), depths: Sequence[int] = (2, 3, 4, 3), neck: int = 48
    ) -> None:
        super().__init__()
        if len(widths) != len(STRIDES) + 1 or len(depths) != len(STRIDES):
            raise ValueError(f"need {len(STRIDES) + 1} widths and {len(STRIDES)} depths, got {widths} and {depths}")
        self.options: dict[str, Any] = {"widths": list(widths), "depths": list(depths), "neck": neck}
        self.stem = _conv(3, widths[0], 3, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(Separable(before, width, 2), *(Separable(width, width) for _ in range(depth - 1)))
            for before, width, depth in zip(widths, widths[1:], depths, strict=False)
        )
        self.laterals = nn.ModuleList(_conv(width, neck) for width in widths[1:])
        self.merges = nn.ModuleList(Separable(neck, neck) for _ in STRIDES)
        self.head = Head(neck)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem((images - 127.5) / 64.0)
        sides: list[Tensor] = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            sides.append(lateral(x))
        cells: list[Tensor] = []
        above: Tensor | None = None
        for level in reversed(range(len(STRIDES))):
            side = (
                sides[level] if above is None else sides[level] + F.interpolate(above, scale_factor=2.0, mode="nearest")
            )
            above = self.merges[level](side)
            cells.append(self.head(above, level).flatten(2))
        return torch.cat(cells[::-1], 2)


class FaceNetGraph(nn.Module):
    """The network as engines run it: `uint8` images (B, H, W, 3) in, cells with scores as probabilities out."""

    def __init__(self, net: FaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        cells = self.net(images.permute(0, 3, 1, 2).float())
        return torch.cat([cells[:, :1].sigmoid(), cells[:, 1:]], 1)


def load_facenet(card: Card, path: Path) -> FaceNet:
    """The network that a card describes, with the weights of a safetensors file.

    Raises:
        ModelError: The file is missing, damaged or of another network.
    """
    if not path.is_file():
        raise ModelError(f"{path}: the detector's weights are not there; reinstall vtrack or export them again")
    check_file(card, path)
    net = FaceNet(**DetectorConfig.of(card).network)
    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: not the weights of this detector: {str(error).splitlines()[0]}") from error
    return net.eval()
