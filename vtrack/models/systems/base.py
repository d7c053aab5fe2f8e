"""Base classes of landmark networks: crops and a query in; points, their spread and the presence of a face out.

`Udfld` answers any query by itself. The other systems learn the fixed points of one layout; `LayoutSystem` interpolates
between these points to answer queries, so that every command works with every system.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.data.store import FaceStore
from vtrack.errors import ModelError, UsageError
from vtrack.layouts import Layout, load_layout
from vtrack.models.backbones.blocks import Backbone
from vtrack.models.decoding.curves import LayoutCurves
from vtrack.models.systems.losses import spread_loss
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class LabelledBatch:
    """One batch of training crops with their labels."""

    crops: Tensor
    """(B, 3, S, S) uint8"""
    parts: Tensor
    """(L, 384) text vectors of the points' parts."""
    positions: Tensor
    """(L,) position of each point along its part."""
    points: Tensor
    """(B, L, 2) in crop units; NaN where there is no label."""
    is_face: Tensor
    """(B,) bool"""
    trust: float
    """Weight of these labels in the loss."""
    pairs: Tensor | None = None
    """(P, 2) indices of points opposite each other across an eye or a mouth; None if their distances are not learned."""
    gaps: float = 0.0
    """Weight of the loss of these distances."""
    hidden: Tensor | None = None
    """(B, L) 1 where something hides a point, 0 where nothing does, NaN where that is unknown; None if it is not learned."""

    @property
    def known(self) -> Tensor:
        """(B, L) bool: which points have a label."""
        return torch.isfinite(self.points).all(-1) & self.is_face[:, None]

    @property
    def targets(self) -> Tensor:
        """(B, L, 2) points in crop units; 0 where there is no label."""
        return torch.where(self.known[..., None], self.points, torch.zeros_like(self.points))


class System(nn.Module):
    """A landmark network that can be trained.

    `forward(crops, parts, positions)` takes crops (B, 3, S, S) uint8 and the query's text vectors (L, 384) and positions (L,),
    and gives an `Output`.
    """

    any_points: ClassVar[bool] = True
    """True if it learns from any points of any layout, False if always from all points of one."""
    config: Any
    backbone: Backbone

    def loss(self, batch: LabelledBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute what training minimises.

        Args:
            batch: Crops and labels.

        Returns:
            The loss, and its terms by name for the log, detached and still on the device: reading them would wait for it.
        """
        raise NotImplementedError

    def prepare(self, stores: Sequence[FaceStore]) -> None:
        """Prepare for the training faces before the first step.

        Raises:
            UsageError: The faces do not fit this system.
        """

    def rate_of(self, parameter: str) -> float:
        """Learning rate of a parameter, as a factor of the run's."""
        return 1.0


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off for a block: coordinates need more than the three digits of half precision."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def in_full_precision(layer: nn.Module, features: Tensor) -> Tensor:
    """Run a last layer in full precision: half precision cannot resolve positions between cells."""
    with full_precision(features):
        out: Tensor = layer(features.float())
    return out


@dataclass(frozen=True)
class LayoutConfig:
    """Options that all systems of one layout have."""

    backbone: str = "hrnet-w18"
    input_size: int = 256
    """Side of the crops in pixels."""
    layout: str = "300w"
    margin: float = 1.25
    """Side of the crop over the longer side of the face box."""

    def check_choice(self, option: str, *allowed: str) -> None:
        """Raise `ModelError` unless an option has one of the allowed values."""
        if getattr(self, option) not in allowed:
            raise ModelError(f"{option} must be one of {', '.join(allowed)}, not {getattr(self, option)!r}")


class LayoutSystem(System):
    """A network for the points of one layout.

    A subclass defines three methods: `extract_features`, `decode` and `loss_terms`. Interpolation to the queried points, the
    spread, the presence and the total loss are here.
    """

    any_points = False

    def __init__(self, config: LayoutConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.layout: Layout = load_layout(config.layout)
        self.backbone = backbone
        self.curves = LayoutCurves(self.layout)
        self.presence_head = nn.Linear(backbone.channels[-1], 1)

    def extract_features(self, crops: Tensor, truth: LabelledBatch | None = None) -> Any:
        """Run the network on crops.

        Args:
            crops: (B, 3, S, S) uint8.
            truth: The labels of these crops, in training only.

        Returns:
            All that `decode` and `loss_terms` need.
        """
        raise NotImplementedError

    def decode(self, features: Any) -> Output:
        """Turn features into the layout's points."""
        raise NotImplementedError

    def loss_terms(self, features: Any, output: Output, batch: LabelledBatch) -> dict[str, Tensor]:
        """The system's own losses by name; their sum is minimised."""
        raise NotImplementedError

    def forward(self, crops: Tensor, parts: Tensor, positions: Tensor) -> Output:
        features = self.extract_features(crops)
        with full_precision(crops):
            output = self.decode(features)
            weights = self.curves(parts, positions)
            points = weighted_sums(weights, output.points[-1])
            sigma = weighted_sums(weights.abs(), output.log_sigma.exp()[..., None])[..., 0]
            sigma = sigma / weights.abs().sum(-1)
        return Output([points], sigma.log(), output.presence)

    def loss(self, batch: LabelledBatch) -> tuple[Tensor, dict[str, Tensor]]:
        features = self.extract_features(batch.crops, batch)
        with full_precision(batch.crops):
            output = self.decode(features)
            known = batch.known
            losses = self.loss_terms(features, output, batch)
            spreads = spread_loss(output.points[-1] - batch.targets, output.log_sigma) * known
            spread = spreads.sum() / known.sum().clamp(min=1)
            presence = functional.binary_cross_entropy_with_logits(output.presence, batch.is_face.float())
            total = batch.trust * (sum(losses.values()) + 0.05 * spread) + 0.3 * presence
        terms = {**losses, "spread": spread, "presence": presence}
        return total, {name: value.detach() for name, value in terms.items()}

    def presence(self, coarsest: Tensor) -> Tensor:
        """(B,) logit from the backbone's coarsest map."""
        logit: Tensor = self.presence_head(coarsest.mean((2, 3)))[:, 0]
        return logit.float()

    def prepare(self, stores: Sequence[FaceStore]) -> None:
        for store in stores:
            if store.layout.name != self.layout.name:
                raise UsageError(
                    f"this model has the points of the layout {self.layout.name}, but {store.name} has those of "
                    f"{store.layout.name}; give data of one layout and name it with --set layout=NAME, or train udfld"
                )


def weighted_sums(weights: Tensor, values: Tensor) -> Tensor:
    """(B, Q, k) weighted sums of values (B, L, k) by weights (Q, L)."""
    return (weights[None, :, :, None] * values[:, None]).sum(2)


class SigmaFromSpread(nn.Module):
    """Learns the standard deviation of the error from the spread of a response: an offset per point, one slope for all."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(count))
        self.slope = nn.Parameter(torch.tensor(0.5))

    def forward(self, spread: Tensor) -> Tensor:
        """(B, L) log sigma from spreads (B, L) in crop units."""
        # Centred on a typical error of 2 % of the crop, so that offset and slope are independent.
        return (self.offset - 4.0 + self.slope * (spread.detach().log() + 4.0)).clamp(-9.0, 1.0)
