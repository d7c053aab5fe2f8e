"""Widens a network without changing what it computes, as a start for training a wider one.

Every channel of the backbone is copied. The next layer's weights for the copies are random shares of the old weight that
sum to it, so that the copies get different gradients and diverge in training.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SPREAD = 0.5
"""Standard deviation of a copy's share, relative to the mean share."""


def widened(theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Tensors `theirs` in the shapes of `mine`, if the backbone is a whole number of times as wide; else unchanged."""
    copies = _copies(theirs, mine)
    if copies < 2:
        return dict(theirs)
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _fitted(tensor, mine[name].shape, copies, generator) if name in mine else tensor
        for name, tensor in theirs.items()
    }


def _copies(theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor]) -> int:
    """How often each channel is there, told by the backbone's vectors; 1 unless they agree."""
    vectors = [name for name, x in theirs.items() if name.startswith("backbone.") and name in mine and x.ndim == 1]
    factors = {mine[name].numel() / theirs[name].numel() for name in vectors}
    factor = factors.pop() if len(factors) == 1 else 1.0
    return int(factor) if factor.is_integer() else 1


def _fitted(tensor: Tensor, shape: torch.Size, copies: int, generator: torch.Generator) -> Tensor:
    """One tensor with its outputs repeated and its inputs shared out, where the shape asks for it."""
    if not shape or tensor.ndim != len(shape):
        return tensor
    outputs, *rest = shape
    if outputs == copies * tensor.shape[0]:
        tensor = tensor.repeat(copies, *(1 for _ in rest))
    if rest and rest[0] == copies * tensor.shape[1]:
        shares = torch.randn(copies, *tensor.shape[:2], generator=generator) * SPREAD
        shares = (1 + shares - shares.mean(0)) / copies
        weights = tensor.float() * shares[(...,) + (None,) * (tensor.ndim - 2)]
        tensor = torch.cat(weights.unbind(0), 1)
    return tensor
