"""What a landmark network gives: points after each layer, their spread, and whether the crop shows a face."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Output:
    """What one forward pass gives; training looks at every layer, prediction at the last."""

    points: list[Tensor]
    """(B, L, 2) in crop units after the initialisation and after each layer."""
    log_sigma: Tensor
    """(B, L) logarithm of the spread of the last points."""
    presence: Tensor
    """(B,) logit."""
