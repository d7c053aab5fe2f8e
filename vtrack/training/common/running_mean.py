"""The running mean of a network's weights, which is better than the last weights and is what is kept."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def update_mean(mean: nn.Module, network: nn.Module, step: int, decay: float) -> None:
    """Move a running mean towards the weights of a network; buffers that are no floats are copied.

    Args:
        mean: Network that holds the running mean.
        network: The network in training, of the same shape.
        step: Number of the step just made, from 1. Early on the mean moves faster, so that it forgets the first weights.
        decay: Share of the mean that a late step keeps, 0 to 1.
    """
    keep = min(decay, (1 + step) / (10 + step))
    pairs = list(zip(mean.state_dict().values(), network.state_dict().values(), strict=True))
    floats = [(average, latest) for average, latest in pairs if average.is_floating_point()]
    torch._foreach_lerp_([average for average, _ in floats], [latest for _, latest in floats], 1 - keep)
    for average, latest in pairs:
        if not average.is_floating_point():
            average.copy_(latest)
