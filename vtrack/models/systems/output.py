"""The output of landmark networks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Output:
    """Result of one forward pass. Training uses the points of every layer, prediction those of the last."""

    points: list[Tensor]
    """One (B, L, 2) in crop units for the initialisation and for each layer."""
    log_sigma: Tensor
    """(B, L) logarithm of the standard deviation of the last points, in crop units."""
    presence: Tensor
    """(B,) logit of the probability that the crop shows a face."""
    hidden: Tensor | None = None
    """(B, L) logit of the probability that something hides the point; None if the network does not tell."""
