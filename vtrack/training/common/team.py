"""Data-parallel training: several processes, one per GPU or machine, started by `torchrun`, that train one model.

Each process has its own batches; after every step gradients are averaged, so all have the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from vtrack.errors import UsageError


class Team:
    """This process among those that train together; without `torchrun` there is only one."""

    def __init__(self, device: str) -> None:
        """Join the process group, if `torchrun` has started one.

        Args:
            device: `cpu`, `cuda`, `cuda:1`; `cuda` becomes this process's own GPU.
        """
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = int(os.environ.get("RANK", "0")) if self.size > 1 else 0
        place = torch.device(device)
        if self.size > 1 and place.type == "cuda" and place.index is None:
            place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
            torch.cuda.set_device(place)
        self.device = place
        if self.size > 1 and not distributed.is_initialized():
            distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files."""
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Run a block in the leading process first, for files that all of them then read."""
        if self.size > 1 and not self.leads:
            distributed.barrier()
        yield
        if self.size > 1 and self.leads:
            distributed.barrier()

    def average_gradients(self, model: nn.Module) -> None:
        """Average the gradients, and the statistics of batch norms, over all processes."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        statistics = [
            buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))
        ]
        _average([*gradients, *statistics], self.size)

    def check(self, model: nn.Module, step: int) -> None:
        """Check that all processes still have the same finite weights.

        Args:
            model: The model in training.
            step: Number of the step, for the message.

        Raises:
            UsageError: Weights became NaN, or differ between processes.
        """
        if self.size == 1:
            return
        mine = torch.stack([parameter.detach().double().sum() for parameter in model.parameters()]).sum()
        sums = [torch.zeros_like(mine) for _ in range(self.size)]
        distributed.all_gather(sums, mine)
        if not all(bool(torch.isfinite(one)) for one in sums):
            raise UsageError(f"training diverged: weights became NaN by step {step}; lower --rate")
        if any(one != sums[0] for one in sums):
            raise UsageError(
                "the processes of this run have different weights; start all of them with the same options"
            )

    def leave(self) -> None:
        """Leave the process group."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()


def _average(tensors: Sequence[Tensor], size: int) -> None:
    """Average tensors over all processes in one message."""
    whole = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
    distributed.all_reduce(whole)
    parts = (whole / size).split([tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, parts, strict=True):
        tensor.copy_(mean.view_as(tensor))
