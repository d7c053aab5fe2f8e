"""What every landmark network is: crops and a query in, points, their spread and the presence of a face out.

`Udfld` answers any query by itself. The other systems learn the fixed points of one layout; `LayoutSystem` answers
queries by curves through these points, so that every system serves every command.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vtrack.data.store import Store
from vtrack.errors import ModelError, UsageError
from vtrack.layouts import Layout, load_layout
from vtrack.models.backbones.blocks import Backbone
from vtrack.models.decoding.curves import Curves
from vtrack.models.systems.losses import spread_loss
from vtrack.models.systems.output import Output


@dataclass(frozen=True)
class Labelled:
    """What a system learns from in one step."""

    crops: Tensor
    """(B, 3, S, S) uint8"""
    parts: Tensor
    """(L, 384) text vectors of the points' parts."""
    positions: Tensor
    """(L,)"""
    points: Tensor
    """(B, L, 2) in crop units; NaN where there is no label."""
    is_face: Tensor
    """(B,) bool"""
    trust: float
    """Weight of these labels."""
    pairs: Tensor | None = None
    """(P, 2) points that face each other across an eye or a mouth; None where their distances are not to be learned."""
    gaps: float = 0.0
    """Weight of these distances beside the points."""

    @property
    def known(self) -> Tensor:
        """(B, L) bool, which points have a label."""
        return torch.isfinite(self.points).all(-1) & self.is_face[:, None]

    @property
    def targets(self) -> Tensor:
        """(B, L, 2) the points, zero where there is no label."""
        return torch.where(self.known[..., None], self.points, torch.zeros_like(self.points))


class System(nn.Module):
    """A landmark network that can be trained."""

    any_points: ClassVar[bool] = True
    """Whether it learns from any points of any layout, or always from all points of one."""
    config: Any
    backbone: Backbone

    def loss(self, batch: Labelled) -> tuple[Tensor, dict[str, Tensor]]:
        """What training minimises, and its parts by name: still on the device, since reading them would wait for it."""
        raise NotImplementedError

    def prepare(self, stores: Sequence[Store]) -> None:
        """Look at the training faces before the first step; raise `UsageError` if they do not fit."""

    def rate_of(self, parameter: str) -> float:
        """Learning rate of a parameter over that of the run."""
        return 1.0


def full_precision(like: Tensor) -> AbstractContextManager[Any]:
    """Half precision off for what follows: coordinates need more than its three digits."""
    device = like.device.type
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


def precisely(layer: nn.Module, features: Tensor) -> Tensor:
    """What a last layer makes of features, in full precision: between cells lies more than half precision can tell."""
    with full_precision(features):
        out: Tensor = layer(features.float())
    return out


@dataclass(frozen=True)
class LayoutConfig:
    """What the systems of one layout have in common."""

    backbone: str = "hrnet-w18"
    input_size: int = 256
    layout: str = "300w"
    margin: float = 1.25

    def choose(self, knob: str, *allowed: str) -> None:
        """Raise unless a knob has one of its values."""
        if getattr(self, knob) not in allowed:
            raise ModelError(f"{knob} must be one of {', '.join(allowed)}, not {getattr(self, knob)!r}")


class LayoutSystem(System):
    """A network for the points of one layout.

    A system tells how it sees crops, how it reads its points off what it sees, and what its own loss is.
    """

    any_points = False

    def __init__(self, config: LayoutConfig, backbone: Backbone) -> None:
        super().__init__()
        self.config = config
        self.layout: Layout = load_layout(config.layout)
        self.backbone = backbone
        self.curves = Curves(self.layout)
        self.presence_head = nn.Linear(backbone.channels[-1], 1)

    def see(self, crops: Tensor, truth: Labelled | None = None) -> Any:
        """All that loss and reading need of crops (B, 3, S, S) uint8. `truth` says what they show, in training only."""
        raise NotImplementedError

    def read(self, seen: Any) -> Output:
        """The layout's points."""
        raise NotImplementedError

    def objective(self, seen: Any, output: Output, batch: Labelled) -> dict[str, Tensor]:
        """The system's own losses by name; their sum is minimised."""
        raise NotImplementedError

    def forward(self, crops: Tensor, parts: Tensor, positions: Tensor) -> Output:
        seen = self.see(crops)
        with full_precision(crops):
            output = self.read(seen)
            weights = self.curves(parts, positions)
            points = mix(weights, output.points[-1])
            sigma = mix(weights.abs(), output.log_sigma.exp()[..., None])[..., 0]
            sigma = sigma / weights.abs().sum(-1)
        return Output([points], sigma.log(), output.presence)

    def loss(self, batch: Labelled) -> tuple[Tensor, dict[str, Tensor]]:
        seen = self.see(batch.crops, batch)
        with full_precision(batch.crops):
            output = self.read(seen)
            known = batch.known
            losses = self.objective(seen, output, batch)
            spreads = spread_loss(output.points[-1] - batch.targets, output.log_sigma) * known
            spread = spreads.sum() / known.sum().clamp(min=1)
            presence = functional.binary_cross_entropy_with_logits(output.presence, batch.is_face.float())
            total = batch.trust * (sum(losses.values()) + 0.05 * spread) + 0.3 * presence
        told = {**losses, "spread": spread, "presence": presence}
        return total, {name: value.detach() for name, value in told.items()}

    def presence(self, coarsest: Tensor) -> Tensor:
        """(B,) logit from the backbone's coarsest map."""
        logit: Tensor = self.presence_head(coarsest.mean((2, 3)))[:, 0]
        return logit.float()

    def prepare(self, stores: Sequence[Store]) -> None:
        for store in stores:
            if store.layout.name != self.layout.name:
                raise UsageError(
                    f"this model has the points of the layout {self.layout.name}, {store.name} those of "
                    f"{store.layout.name}; give data of one layout (and name it by --set layout=NAME), or train udfld"
                )


def mix(weights: Tensor, values: Tensor) -> Tensor:
    """(B, Q, k) weighted sums of values (B, L, k) by weights (Q, L)."""
    return (weights[None, :, :, None] * values[:, None]).sum(2)


class Doubt(nn.Module):
    """Learns what the spread of a response says of the error: one offset for each point, one slope for all."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(count))
        self.slope = nn.Parameter(torch.tensor(0.5))

    def forward(self, spread: Tensor) -> Tensor:
        """(B, L) log sigma from spreads (B, L) in crop units."""
        # About a middling error of 2 % of the crop, so that offset and slope do not fight each other.
        return (self.offset - 4.0 + self.slope * (spread.detach().log() + 4.0)).clamp(-9.0, 1.0)
