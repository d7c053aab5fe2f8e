"""A simple heatmap model: the base of `keyposs` and `gcn`, and the baseline for them and `gv`.

Backbone and neck give one feature map, a convolution turns it into one heatmap per landmark, a decoder finds the point.
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
from vtrack.models.systems.base import LabelledBatch, LayoutConfig, LayoutSystem, SigmaFromSpread, in_full_precision
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class HeatmapConfig(LayoutConfig):
    """Size of the network, encoding of the labels, and decoder."""

    resolution: int = 64
    """Side of the heatmaps in cells. Below a quarter of `input_size` the backbone downsamples the image early."""
    neck: str = "concat"
    dim: int = 128
    """Width of the `pyramid` neck."""
    sigma: float = 2.0
    """Standard deviation of the Gaussian labels, in cells."""
    encoding: str = "unbiased"
    decoder: str = "distribution-aware"
    kernel: int = 2
    """Side of the window of anchors, for the decoder `keyposs`."""
    beyond: bool = False
    """Find points outside the crop by the Beyond Box strategy of Xiong et al."""

    def __post_init__(self) -> None:
        self.check_choice("neck", *NECKS)
        self.check_choice("encoding", "biased", "unbiased")
        self.check_choice("decoder", *DECODERS)
        if self.input_size not in (stride * self.resolution for stride in STRIDES):
            raise ModelError(
                f"heatmaps of a {self.input_size}-pixel crop can be {[self.input_size // stride for stride in STRIDES]} "
                f"cells wide, not {self.resolution}"
            )
        if not 2 <= self.kernel <= self.resolution:
            raise ModelError(f"the window of anchors must be 2 to {self.resolution} cells wide, not {self.kernel}")


@dataclass(frozen=True)
class HeatmapFeatures:
    """Feature map, heatmaps and presence of a batch of crops."""

    maps: Tensor
    """(B, C, n, n) the neck's features."""
    heatmaps: Tensor
    """(B, L, n, n)"""
    presence: Tensor
    """(B,) logit"""


class Heatmap(LayoutSystem):
    """A heatmap model trained by mean squared error."""

    config: HeatmapConfig

    def __init__(self, config: HeatmapConfig) -> None:
        stride = config.input_size // config.resolution
        super().__init__(config, build_backbone(config.backbone, stride=stride))
        self.neck = build_neck(config.neck, self.backbone.channels, config.dim)
        self.out = nn.Conv2d(self.neck.width, len(self.layout), 1)
        nn.init.normal_(self.out.weight, std=0.001)
        self.doubt = SigmaFromSpread(len(self.layout))

    def extract_features(self, crops: Tensor, truth: LabelledBatch | None = None) -> HeatmapFeatures:
        maps = self.backbone(normalise(crops).contiguous(memory_format=torch.channels_last))
        features = self.neck(maps)
        return HeatmapFeatures(features, in_full_precision(self.out, features), self.presence(maps[-1]))

    def decode(self, features: HeatmapFeatures) -> Output:
        config = self.config
        points = decode(
            features.heatmaps, config.decoder, sigma=config.sigma, kernel=config.kernel, beyond=config.beyond
        )
        return Output([points], self.doubt(hm.spread(features.heatmaps, points, config.sigma)), features.presence)

    def labels(self, batch: LabelledBatch) -> Tensor:
        """(B, L, n, n) target heatmaps."""
        config = self.config
        return hm.encode(batch.targets, config.resolution, config.sigma, biased=config.encoding == "biased")

    def loss_terms(self, features: HeatmapFeatures, output: Output, batch: LabelledBatch) -> dict[str, Tensor]:
        # The sum over a map, not the mean: a larger map has no more landmarks than a small one.
        squares = ((features.heatmaps - self.labels(batch)) ** 2).sum((-2, -1))
        return {"heatmap": (squares * batch.known).sum() / batch.known.sum().clamp(min=1)}
