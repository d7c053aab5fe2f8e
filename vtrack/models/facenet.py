"""The face detector's network: a small convolutional pyramid that says at every cell whether a face is centred there.

No anchors: each cell of the strides 4, 8, 16 and 32 gives a score, a box about its own middle and the face's roll as a
vector. One head serves all strides, so what is learned of a face at one size holds at every size.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vtrack.errors import ModelError
from vtrack.models.card import Card
from vtrack.models.faceboxes import STRIDES

CHANNELS = 7
"""Of a cell: score, centre x, y in strides from the cell's middle, log width and height over `UNIT` strides, roll's cosine and sine."""


def _conv(inputs: int, outputs: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Separable(nn.Module):
    """A depthwise and a pointwise convolution, with a way round them where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.space = _conv(inputs, inputs, 3, stride, inputs)
        self.mix = _conv(inputs, outputs)
        self.keeps = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(self.space(x))
        return x + y if self.keeps else y


class FaceNet(nn.Module):
    """RGB images (B, 3, H, W), 0..255, sides multiples of 32, to (B, 7, cells): the cells of every stride, rows first."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64, 160, 256), depths: tuple[int, ...] = (2, 3, 4, 3), neck: int = 48) -> None:
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
        self.head = nn.Sequential(Separable(neck, neck), Separable(neck, neck), nn.Conv2d(neck, CHANNELS, 1))
        last = self.head[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.normal_(last.weight, std=0.01)
        # Faces are rare among cells: begin by saying "no" (1 %), and upright.
        last.bias.data = torch.tensor([-math.log(99.0), 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem((images - 127.5) / 64.0)
        levels: list[Tensor] = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        above: Tensor | None = None
        cells: list[Tensor] = []
        for level, merge in zip(reversed(levels), reversed(list(self.merges)), strict=True):
            above = merge(level if above is None else level + F.interpolate(above, scale_factor=2.0, mode="nearest"))
            cells.append(self.head(above).flatten(2))
        return torch.cat(cells[::-1], 2)


class Exported(nn.Module):
    """The network as engines run it: uint8 pictures (B, H, W, 3) in, the score channel as a probability out."""

    def __init__(self, net: FaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, pictures: Tensor) -> Tensor:
        cells = self.net(pictures.permute(0, 3, 1, 2).to(self.net.stem[0].weight.dtype))  # type: ignore[union-attr, arg-type]
        return torch.cat([cells[:, :1].sigmoid(), cells[:, 1:]], 1)


def load_facenet(card: Card, path: Path) -> FaceNet:
    """The network that a card describes, with the weights of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ModelError(f"{path}: the detector's weights are not there; reinstall vtrack or export them again")
    net = FaceNet(**card.config["network"])
    try:
        net.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(f"{path}: not the weights of this detector: {str(error).splitlines()[0]}") from error
    return net.eval()
