"""Initialises a wider network from a narrower one so that both compute the same function (Net2Wider).

Every channel of the backbone is copied. The next layer's weights for the copies are random fractions that sum to the original
weight, so that the copies get different gradients and diverge in training.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SPREAD = 0.5
"""Standard deviation of a copy's share, relative to the mean share."""


def widened(narrow: Mapping[str, Tensor], wide: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Widen tensors to the shapes of a wider network.

    Args:
        narrow: Tensors of the trained network.
        wide: Tensors of the wider network, of which only the shapes are used.
        seed: Seed of the random fractions.

    Returns:
        The widened tensors; `narrow` unchanged unless the backbone is wider by a whole factor.
    """
    copies = _copies(narrow, wide)
    if copies < 2:
        return dict(narrow)
    generator = torch.Generator().manual_seed(seed)
    return {
        name: _fitted(tensor, wide[name].shape, copies, generator) if name in wide else tensor
        for name, tensor in narrow.items()
    }


def _copies(narrow: Mapping[str, Tensor], wide: Mapping[str, Tensor]) -> int:
    """Copies of each channel, from the lengths of the backbone's vectors; 1 if these disagree."""
    vectors = [name for name, x in narrow.items() if name.startswith("backbone.") and name in wide and x.ndim == 1]
    factors = {wide[name].numel() / narrow[name].numel() for name in vectors}
    factor = factors.pop() if len(factors) == 1 else 1.0
    return int(factor) if factor.is_integer() else 1


def _fitted(tensor: Tensor, shape: torch.Size, copies: int, generator: torch.Generator) -> Tensor:
    """A tensor with its outputs repeated and its inputs divided among the copies, where the shape is larger."""
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
