"""A wider network that computes what a narrow one does, to go on learning from there.

Every channel of the backbone is there several times. What reads the channels gives each copy a share of its own of the old
weight, at random and with the old weight as the sum: so the copies differ to whatever reads them, and part ways as they learn.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SPREAD = 0.5
"""Standard deviation of a copy's share, over the mean share."""


def widened(theirs: Mapping[str, Tensor], mine: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Their tensors in the shapes of mine, if my backbone is a whole number of times as wide; else as they are."""
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
