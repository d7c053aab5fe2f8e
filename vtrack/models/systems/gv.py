"""Gaussian Vector (Xiong et al.): each landmark as a vector along x and one along y, pooled from a heatmap.

Backbone and feature pyramid give a heatmap for each landmark at a quarter of the crop's resolution. The Band Pooling
Module turns it into two vectors, trained by mean squared error on Gaussian labels with a raised peak. A landmark lies at
the highest elements, moved a quarter of a cell to the higher neighbour; outside the crop if these are at an end.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtrack.errors import ModelError
from vtrack.models.backbones.necks import NECKS, build_neck
from vtrack.models.backbones.registry import STRIDES, build_backbone, normalise
from vtrack.models.decoding import vectors as gv
from vtrack.models.systems.base import LabelledBatch, LayoutConfig, LayoutSystem, SigmaFromSpread, in_full_precision
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class GvConfig(LayoutConfig):
    """The paper's network, with the options of its ablations."""

    backbone: str = "hrnet-w32"
    margin: float = 1.0
    """The paper's on 300W; it has 1.25 on WFLW and 1.1 on COFW."""
    resolution: int = 64
    neck: str = "pyramid"
    dim: int = 128
    sigma: float = 2.0
    theta: float = 3.0
    """How much the peak of the labels is raised: table 7."""
    bandwidths: tuple[int, ...] = (3, 5)
    """One bandwidth, or two whose vectors are added: table 8."""
    alpha: float = 0.5
    """Weight of the first of two bandwidths."""
    padding: str = "uncounted"
    """What a band's mean counts beyond the rim of the map: nothing (`uncounted`), or `zeros`, which
    hide points beyond the box."""
    encoding: str = "biased"
    beyond: bool = True
    """Beyond Box decoding."""
    tau: float = 2.0
    beyond_sigma: float = 2.0
    """Height and standard deviation of the Gaussian that Beyond Box decoding assumes: table 6."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bandwidths", tuple(self.bandwidths))  # JSON knows lists only
        self.check_choice("neck", *NECKS)
        self.check_choice("encoding", "biased", "unbiased")
        self.check_choice("padding", "uncounted", "zeros")
        if not 1 <= len(self.bandwidths) <= 2 or any(width < 1 or width % 2 == 0 for width in self.bandwidths):
            raise ModelError(f"bandwidths are one or two odd numbers, not {self.bandwidths}")
        if not 0 < self.alpha < 1 or self.theta < 0 or min(self.sigma, self.tau, self.beyond_sigma) <= 0:
            raise ModelError(
                "alpha lies between 0 and 1, theta is at least 0, sigma, tau and beyond_sigma are positive"
            )
        if self.input_size not in (stride * self.resolution for stride in STRIDES):
            raise ModelError(
                f"vectors of a {self.input_size}-pixel crop can be {[self.input_size // stride for stride in STRIDES]} "
                f"long, not {self.resolution}"
            )


@dataclass(frozen=True)
class GvFeatures:
    """Vectors and presence of a batch of crops."""

    vectors: Tensor
    """(B, L, 2, n)"""
    presence: Tensor
    """(B,) logit"""


class Gv(LayoutSystem):
    """A vector model trained by mean squared error."""

    config: GvConfig

    def __init__(self, config: GvConfig) -> None:
        super().__init__(config, build_backbone(config.backbone, stride=config.input_size // config.resolution))
        self.neck = build_neck(config.neck, self.backbone.channels, config.dim)
        self.out = nn.Conv2d(self.neck.width, len(self.layout), 1)
        nn.init.normal_(self.out.weight, std=0.001)
        self.doubt = SigmaFromSpread(len(self.layout))

    def extract_features(self, crops: Tensor, truth: LabelledBatch | None = None) -> GvFeatures:
        config = self.config
        maps = self.backbone(normalise(crops).contiguous(memory_format=torch.channels_last))
        # The mean of a band of mostly empty cells is small. The factor brings it to the scale of the labels.
        heatmaps = in_full_precision(self.out, self.neck(maps)) * config.resolution
        vectors = gv.band_pool(heatmaps, config.bandwidths, config.alpha, count_padding=config.padding == "zeros")
        return GvFeatures(vectors, self.presence(maps[-1]))

    def decode(self, features: GvFeatures) -> Output:
        config = self.config
        points = gv.decode(features.vectors)
        if config.beyond:
            points = gv.beyond_box(points, features.vectors, config.tau, config.beyond_sigma)
        return Output([points], self.doubt(gv.spread(features.vectors, points, config.sigma)), features.presence)

    def loss_terms(self, features: GvFeatures, output: Output, batch: LabelledBatch) -> dict[str, Tensor]:
        config = self.config
        biased = config.encoding == "biased"
        labels = gv.encode(batch.targets, config.resolution, config.sigma, config.theta, biased=biased)
        squares = ((features.vectors - labels) ** 2).sum(-1).mean(-1)  # (B, L)
        return {"vector": (squares * batch.known).sum() / batch.known.sum().clamp(min=1)}
