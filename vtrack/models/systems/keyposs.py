"""KeyPosS (Cheng et al.): heatmaps, even very small ones, decoded by true-range multilateration.

An HRNet with early downsampling gives heatmaps of 64, 32, 16, 8 or 4 cells a side for a 256-pixel crop. Their values are
converted to distances from station anchors, the cells of the brightest window, and least squares locates the landmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vtrack.models.decoding import multilateration
from vtrack.models.systems.base import LabelledBatch
from vtrack.models.systems.heatmap import Heatmap, HeatmapConfig, HeatmapFeatures
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class KeypossConfig(HeatmapConfig):
    """The paper's network: HRNet-W18 on 256 pixels, 64 x 64 heatmaps, unbiased labels, 2 x 2 anchors."""

    decoder: str = "keyposs"
    coordinates: float = 0.0
    """Weight of equation 15, the distance of the decoded points to the truth, beside the heatmap loss."""


class Keyposs(Heatmap):
    """A heatmap model decoded by multilateration, optionally trained through it."""

    config: KeypossConfig

    def loss_terms(self, features: HeatmapFeatures, output: Output, batch: LabelledBatch) -> dict[str, Tensor]:
        losses = super().loss_terms(features, output, batch)
        if self.config.coordinates:
            points = multilateration.decode(features.heatmaps, self.config.sigma, self.config.kernel)
            away = torch.linalg.vector_norm(points - batch.targets + 1e-9, dim=-1) * self.config.resolution
            distance = (away * batch.known).sum() / batch.known.sum().clamp(min=1)
            losses["distance"] = self.config.coordinates * distance
        return losses
