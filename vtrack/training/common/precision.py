"""Half precision where it is faster: CPUs without bfloat16 instructions take many times as long with it."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch.nn import functional


def autocast(device: torch.device) -> torch.autocast:
    """Autocast for training: bfloat16 on accelerators and on CPUs that are faster with it, else full precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu" or faster_on_cpu())


@cache
def faster_on_cpu() -> bool:
    """Whether this CPU convolves faster in bfloat16. Torch has no public function for it, so a small convolution is timed."""
    return _seconds(torch.bfloat16) < _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """The best of a few tries in CPU time of the thread, so that other load does not matter."""
    maps, weight = torch.ones(4, 64, 32, 32, dtype=dtype), torch.ones(64, 64, 3, 3, dtype=dtype)
    tries = []
    with torch.inference_mode():
        for _ in range(5):
            started = time.thread_time()
            functional.conv2d(maps, weight, padding=1)
            tries.append(time.thread_time() - started)
    return min(tries)
