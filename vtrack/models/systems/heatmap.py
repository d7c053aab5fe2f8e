"""A plain heatmap model: the base of `keyposs` and `gcn`, and what they and `gv` are compared with.

Backbone and neck give one map of features, a convolution makes of it one heatmap for each landmark, a decoder reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtrack.errors import ModelError
from vtrack.models.backbones.necks import NECKS, build_neck
from vtrack.models.backbones.registry import STRIDES, build_backbone, normalise
from vtrack.models.decoding import heatmaps as hm
from vtrack.models.decoding.registry import DECODERS, decode
from vtrack.models.systems.base import Doubt, Labelled, LayoutConfig, LayoutSystem, precisely
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class HeatmapConfig(LayoutConfig):
    """The shape of one network and how its heatmaps are written and read."""

    resolution: int = 64
    """Side of the heatmaps. Below a quarter of `input_size` the backbone makes the picture small early."""
    neck: str = "concat"
    dim: int = 128
    """Width of the `pyramid` neck."""
    sigma: float = 2.0
    """Of the labels, in cells."""
    encoding: str = "unbiased"
    decoder: str = "distribution-aware"
    kernel: int = 2
    """Side of the window of anchors, for the decoder `keyposs`."""
    beyond: bool = False
    """Look for points outside the crop by the Beyond Box strategy of paper 004."""

    def __post_init__(self) -> None:
        self.choose("neck", *NECKS)
        self.choose("encoding", "biased", "unbiased")
        self.choose("decoder", *DECODERS)
        if self.input_size not in (stride * self.resolution for stride in STRIDES):
            raise ModelError(
                f"heatmaps of a {self.input_size}-pixel crop can be {[self.input_size // stride for stride in STRIDES]} "
                f"cells wide, not {self.resolution}"
            )
        if not 2 <= self.kernel <= self.resolution:
            raise ModelError(f"the window of anchors must be 2 to {self.resolution} cells wide, not {self.kernel}")
        if self.sigma <= 0:
            raise ModelError(f"sigma must be positive, not {self.sigma}")


@dataclass(frozen=True)
class Seen:
    """What a heatmap model makes of crops."""

    features: Tensor
    """(B, C, n, n)"""
    heatmaps: Tensor
    """(B, L, n, n)"""
    presence: Tensor
    """(B,) logit"""


class Heatmap(LayoutSystem):
    """Mean squared error on heatmaps."""

    config: HeatmapConfig

    def __init__(self, config: HeatmapConfig) -> None:
        stride = config.input_size // config.resolution
        super().__init__(config, build_backbone(config.backbone, stride=stride))
        self.neck = build_neck(config.neck, self.backbone.channels, config.dim)
        self.out = nn.Conv2d(self.neck.width, len(self.layout), 1)
        nn.init.normal_(self.out.weight, std=0.001)
        self.doubt = Doubt(len(self.layout))

    def see(self, crops: Tensor, truth: Labelled | None = None) -> Seen:
        maps = self.backbone(normalise(crops).contiguous(memory_format=torch.channels_last))
        features = self.neck(maps)
        return Seen(features, precisely(self.out, features), self.presence(maps[-1]))

    def read(self, seen: Seen) -> Output:
        config = self.config
        points = decode(seen.heatmaps, config.decoder, sigma=config.sigma, kernel=config.kernel, beyond=config.beyond)
        return Output([points], self.doubt(hm.spread(seen.heatmaps, points, config.sigma)), seen.presence)

    def labels(self, batch: Labelled) -> Tensor:
        """(B, L, n, n) what the heatmaps should be."""
        config = self.config
        return hm.encode(batch.targets, config.resolution, config.sigma, biased=config.encoding == "biased")

    def objective(self, seen: Seen, output: Output, batch: Labelled) -> dict[str, Tensor]:
        # The sum over a map, not its mean: a large map has no more landmarks than a small one.
        squares = ((seen.heatmaps - self.labels(batch)) ** 2).sum((-2, -1))
        return {"heatmap": (squares * batch.known).sum() / batch.known.sum().clamp(min=1)}
