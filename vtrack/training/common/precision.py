"""Half precision where it pays: processors without instructions for bfloat16 take many times as long over it."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch.nn import functional


def autocast(device: torch.device) -> torch.autocast:
    """What training runs in: bfloat16 on accelerators and on processors that are quicker in it, else full precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" or pays_on_cpu())


@cache
def pays_on_cpu() -> bool:
    """Whether this processor convolves more quickly in bfloat16. Torch has no public word on it, so a small one is timed."""
    return _seconds(torch.bfloat16) < _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """The best of a few tries in the thread's own time, so that a busy machine decides nothing."""
    maps, weight = torch.ones(4, 64, 32, 32, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
    tries = []
    with torch.inference_mode():
        for _ in range(5):
            started = time.thread_time()
            functional.conv2d(maps, weight, padding=1)
            tries.append(time.thread_time() - started)
    return min(tries)
