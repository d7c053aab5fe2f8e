"""KeyPosS (paper 003): heatmaps as distance maps, small ones too, decoded by true-range multilateration.

An HRNet whose stem makes the picture small early gives heatmaps of 64, 32, 16, 8 or 4 cells a side of a 256-pixel crop. Their
values tell distances to station anchors, the cells of the brightest window, and least squares finds the landmark.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vtrack.models.decoding import multilateration
from vtrack.models.systems.base import Labelled
from vtrack.models.systems.heatmap import Heatmap, HeatmapConfig, Seen
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class KeypossConfig(HeatmapConfig):
    """The paper's network: HRNet-W18 on 256 pixels, 64 x 64 heatmaps, unbiased labels, 2 x 2 anchors."""

    decoder: str = "keyposs"
    coordinates: float = 0.0
    """Weight of equation 15, the distance of the multilaterated points to the truth, beside the error on the heatmaps."""


class Keyposs(Heatmap):
    """A heatmap model trained for, and read by, multilateration."""

    config: KeypossConfig

    def objective(self, seen: Seen, output: Output, batch: Labelled) -> dict[str, Tensor]:
        losses = super().objective(seen, output, batch)
        if self.config.coordinates:
            points = multilateration.decode(seen.heatmaps, self.config.sigma, self.config.kernel)
            away = torch.linalg.vector_norm(points - batch.targets + 1e-9, dim=-1) * self.config.resolution
            distance = (away * batch.known).sum() / batch.known.sum().clamp(min=1)
            losses["distance"] = self.config.coordinates * distance
        return losses
