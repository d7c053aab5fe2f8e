"""Several processes, one a GPU or machine, that learn one model together, as `torchrun` starts them.

Each sees faces of its own; after every step all have the mean of the gradients, and so the same weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from vtrack.errors import UsageError


class Team:
    """This process's place among those that learn together; alone it is the first of one."""

    def __init__(self, device: str) -> None:
        """Meet the others, if `torchrun` has started any."""
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
        """Whether this process writes what there is to write."""
        return self.rank == 0

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """What the first process does within, files for all to read, the others do after it."""
        if self.size > 1 and not self.leads:
            distributed.barrier()
        yield
        if self.size > 1 and self.leads:
            distributed.barrier()

    def agree(self, model: nn.Module) -> None:
        """Give everyone the mean of all gradients, and of what norms have seen."""
        if self.size == 1:
            return
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        seen = [buffer for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
        _average([*gradients, *seen], self.size)

    def check(self, model: nn.Module) -> None:
        """Raise if the processes no longer have the same weights: then they have not learned one model."""
        if self.size == 1:
            return
        mine = torch.stack([parameter.detach().double().sum() for parameter in model.parameters()]).sum()
        sums = [torch.zeros_like(mine) for _ in range(self.size)]
        distributed.all_gather(sums, mine)
        if not all(bool(torch.isfinite(one)) for one in sums):
            raise UsageError("training has diverged: the weights are no numbers any more; try a smaller --rate")
        if any(one != sums[0] for one in sums):
            raise UsageError("the processes of this run have come to different weights; start them with one recipe")

    def leave(self) -> None:
        """Part from the others when all is done."""
        if self.size > 1 and distributed.is_initialized():
            distributed.destroy_process_group()


def _average(tensors: Sequence[Tensor], size: int) -> None:
    """One message for all tensors."""
    whole = torch.cat([tensor.detach().flatten().float() for tensor in tensors])
    distributed.all_reduce(whole)
    parts = (whole / size).split([tensor.numel() for tensor in tensors])
    for tensor, mean in zip(tensors, parts, strict=True):
        tensor.copy_(mean.view_as(tensor))
