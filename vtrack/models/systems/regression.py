"""A simple regression model as a baseline: one linear layer from the pooled coarsest features to all coordinates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vtrack.models.backbones.registry import build_backbone, normalise
from vtrack.models.systems.base import LabelledBatch, LayoutConfig, LayoutSystem
from vtrack.models.systems.losses import wing
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class RegressionConfig(LayoutConfig):
    """Size of the network."""


class Regression(LayoutSystem):
    """A regression model trained by Wing loss on coordinates."""

    config: RegressionConfig

    def __init__(self, config: RegressionConfig) -> None:
        super().__init__(config, build_backbone(config.backbone))
        count = len(self.layout)
        self.out = nn.Linear(self.backbone.channels[-1], 3 * count)
        nn.init.normal_(self.out.weight, std=0.001)
        with torch.no_grad():
            self.out.bias.copy_(torch.cat([torch.full((2 * count,), 0.5), torch.full((count,), -4.0)]))

    def extract_features(self, crops: Tensor, truth: LabelledBatch | None = None) -> Output:
        coarsest = self.backbone(normalise(crops).contiguous(memory_format=torch.channels_last))[-1]
        count = len(self.layout)
        points, log_sigma = self.out(coarsest.mean((2, 3))).float().split([2 * count, count], 1)
        return Output([points.unflatten(1, (count, 2))], log_sigma.clamp(-9.0, 1.0), self.presence(coarsest))

    def decode(self, features: Output) -> Output:
        return features

    def loss_terms(self, features: Output, output: Output, batch: LabelledBatch) -> dict[str, Tensor]:
        errors = wing(output.points[-1] - batch.targets).sum(-1) * batch.known
        return {"wing": 0.1 * errors.sum() / batch.known.sum().clamp(min=1)}
